package lab

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Published is a port of a pod's node that leads to one of the pod, as docker run -p has it.
type Published struct {
	Socket     // of the node
	To     int // of the pod
	At     hcl.Range
}

func (p Published) String() string { return fmt.Sprintf("%d:%d/%s", p.Port, p.To, p.Protocol) }

// published reads what a pod publishes: 8080:80, 5353:53/udp.
func (f *fields) published(name string) []Published {
	items, _ := f.list(name)
	if len(items) > maxSockets {
		f.l.errorf(f.at[name], "Too many ports", "%q has %d ports; there are at most %d.", name, len(items), maxSockets)
		return nil
	}
	var all []Published
	for _, it := range items {
		ports, protocol, given := strings.Cut(it.text, "/")
		if !given {
			protocol = "tcp"
		}
		host, to, ok := strings.Cut(ports, ":")
		p := Published{Socket: Socket{Protocol: protocol}, At: it.at}
		var bad, badTo bool
		p.Port, bad = portNumber(host)
		p.To, badTo = portNumber(to)
		if !ok || bad || badTo || protocol != "tcp" && protocol != "udp" {
			f.l.errorf(it.at, "Invalid port", "%q publishes no port. Write the node's port, then the pod's, as \"8080:80\" or \"5353:53/udp\"; a port is from 1 to %d.", shorten(it.text), maxPort)
			continue
		}
		all = append(all, p)
	}
	return all
}

func portNumber(text string) (n int, bad bool) {
	n, err := strconv.Atoi(text)
	return n, err != nil || text != strconv.Itoa(n) || n < 1 || n > maxPort
}

// publishing checks what the pods of a node publish: each port of the node leads to one pod, and none is served there.
func (l *loader) publishing(m *Machine) {
	taken := map[Socket]hcl.Range{}
	for _, s := range m.Serves {
		taken[s] = m.At.Of("serve", m.Range)
	}
	for _, p := range m.Pods {
		if p.In == HostNetwork {
			for _, s := range p.Serves {
				taken[s] = p.At.Of("serve", p.Range)
			}
		}
	}
	for _, p := range m.Pods {
		if len(p.Publishes) > 0 && !p.Connected() {
			l.clash(p.At.Of("publish", p.Range), p.At.Of("networks", p.Range), "Nothing to publish",
				"A pod in no network of its own has no address of its own, to which a port of its node could lead. Remove one of the two; its network is at %s.")
			continue
		}
		for _, one := range p.Publishes {
			if at, ok := taken[one.Socket]; ok {
				l.clash(one.At, at, "Port taken", "%s of %s is taken already, at %s. Publish another port.", one.Socket, m.Name)
				continue
			}
			taken[one.Socket] = one.At
		}
	}
}
