package lab

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Socket is a port of a protocol that something listens on.
type Socket struct {
	Protocol string // tcp, udp
	Port     int
}

func (s Socket) String() string { return fmt.Sprintf("%s/%d", s.Protocol, s.Port) }

const (
	maxPort    = 65535
	maxSockets = 64 // of a pod or machine
)

// sockets reads what is served: tcp/8080.
func (f *fields) sockets(name string) []Socket {
	items, _ := f.list(name)
	if len(items) > maxSockets {
		f.l.errorf(f.at[name], "Too many ports", "%q has %d ports; there are at most %d.", name, len(items), maxSockets)
		return nil
	}
	var sockets []Socket
	first := map[Socket]hcl.Range{}
	for _, it := range items {
		s, ok := f.socket(it)
		if !ok {
			continue
		}
		if at, taken := first[s]; taken {
			f.l.clash(it.at, at, "Duplicate port", "%s is already in the list, at %s. Remove one of the two.", s)
			continue
		}
		first[s] = it.at
		sockets = append(sockets, s)
	}
	return sockets
}

func (f *fields) socket(it item) (Socket, bool) {
	protocol, digits, _ := strings.Cut(it.text, "/")
	port, err := strconv.Atoi(digits)
	if protocol != "tcp" && protocol != "udp" || err != nil || digits != strconv.Itoa(port) {
		hint := ""
		if n, err := strconv.Atoi(protocol); err == nil && (digits == "" || digits == "tcp" || digits == "udp") && n > 0 && n <= maxPort {
			hint = fmt.Sprintf(" Did you mean %q?", cmp.Or(digits, "tcp")+"/"+strconv.Itoa(n))
		}
		f.l.errorf(it.at, "Invalid port", "%q is no port. Write the protocol and the number, as \"tcp/8080\" or \"udp/53\".%s", shorten(it.text), hint)
		return Socket{}, false
	}
	if port < 1 || port > maxPort {
		f.l.errorf(it.at, "Number out of range", "A port is from 1 to %d, not %d.", maxPort, port)
		return Socket{}, false
	}
	return Socket{protocol, port}, true
}
