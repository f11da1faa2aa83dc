package lab

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// An interface's name is a word on the command lines of ip(8), and a folder of /proc/sys/net.
var validInterface = regexp.MustCompile(`^[A-Za-z][-A-Za-z0-9._]*$`)

// MaxInterface is the length of an interface's name: IFNAMSIZ, without the byte that ends it.
const MaxInterface = 15

// reservedInterfaces are names that no interface of a machine can have. The devices are there in every namespace as soon as
// the kernel has their driver.
var reservedInterfaces = map[string]string{
	"lo":       "every machine's loopback device",
	"all":      "what sysctls call all interfaces together",
	"default":  "what sysctls call an interface that is created later",
	"tunl0":    "the kernel's own IP-in-IP device",
	"sit0":     "the kernel's own IPv6-in-IPv4 device",
	"ip6tnl0":  "the kernel's own device for tunnels over IPv6",
	"gre0":     "the kernel's own GRE device",
	"gretap0":  "the kernel's own GRE device",
	"erspan0":  "the kernel's own GRE device",
	"ip6gre0":  "the kernel's own GRE device",
	"ip_vti0":  "the kernel's own IPsec device",
	"ip6_vti0": "the kernel's own IPsec device",
}

// podVeths is how the names of a node's ends of its pods' veth pairs begin. The programs of pod networks know them by that.
var podVeths = []string{"cali", "hybr", "veth"}

// interfaceName reads the name of a machine's next interface, which is eth and its number unless another is written.
func (l *loader) interfaceName(m *Machine, b *hclsyntax.Block, f *fields) string {
	name, at, written := f.text("name")
	if !written {
		name, at = "eth"+strconv.Itoa(len(m.Interfaces)), b.DefRange()
	}
	switch {
	case len(name) > MaxInterface:
		l.errorf(at, "Name too long", "The name of an interface has at most %d characters; %s has %d.", MaxInterface, shorten(name), len(name))
		return name
	case !validInterface.MatchString(name):
		l.errorf(at, "Invalid name", "%q cannot name an interface. Such a name has letters, digits, dots, hyphens and underscores, and begins with a letter: for example \"ens192\".", shorten(name))
		return name
	case reservedInterfaces[name] != "":
		l.errorf(at, "Reserved name", "%q is %s. Give the interface another name.", name, reservedInterfaces[name])
		return name
	}
	for _, begin := range podVeths {
		if m.Kind == Node && strings.HasPrefix(name, begin) {
			l.errorf(at, "Reserved name", "Names that begin with %s are reserved for the node's ends of the pods' veth pairs. Give the interface another name.", begin)
			return name
		}
	}
	for _, other := range m.Interfaces {
		switch {
		case other.Name != name:
		case written:
			l.clash(at, other.At.Of("name", other.Range), "Duplicate interface name", "%s already has an interface %s, at %s. Give one of them another name.", m.Name, name)
		default:
			l.clash(at, other.At.Of("name", other.Range), "Duplicate interface name", "This interface of %s would be called %s after its number, and another has that name, at %s. Give this one a name as well.", m.Name, name)
		}
	}
	return name
}
