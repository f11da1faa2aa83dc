package plan

import (
	"cmp"
	"slices"
	"strings"

	"labnet/lab"
)

// Plug names an interface that is plugged into a switch, in JSON as worker1:eth0.
type Plug struct{ Machine, Interface string }

func (p Plug) String() string { return p.Machine + ":" + p.Interface }

// MarshalText makes it a key in JSON.
func (p Plug) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads one.
func (p *Plug) UnmarshalText(text []byte) error {
	p.Machine, p.Interface, _ = strings.Cut(string(text), ":")
	return nil
}

// Impairments are what single links do to packets, instead of what the switches say of all of theirs.
type Impairments map[Plug]lab.Impairment

// Impairment is what the link of an interface does to packets.
func (c *Cluster) Impairment(m *lab.Machine, nic *lab.Interface) lab.Impairment {
	i, of := c.impair[Plug{m.Name, nic.Name}]
	if !of {
		i = nic.Switch.Impair
	}
	i.Rate = cmp.Or(c.rateLimit, i.Rate)
	return i
}

// Qdiscs are what a link's impairment is made of: the qdiscs at both of its ends.
func (c *Cluster) Qdiscs(m *lab.Machine, nic *lab.Interface) []Key {
	port := portName(m, slices.Index(c.Lab.Machines, m), slices.Index(m.Interfaces, nic))
	return []Key{{c.NamespaceOf(m.Name), KindQdisc, nic.Name}, {c.NamespaceOf(nic.Switch.Name), KindQdisc, port}}
}

// Impaired are the impairments of single links that the lab has.
func (c *Cluster) Impaired() Impairments {
	had := Impairments{}
	for _, m := range c.Lab.Machines {
		for _, nic := range m.Interfaces {
			p := Plug{m.Name, nic.Name}
			if i, of := c.impair[p]; of {
				had[p] = i
			}
		}
	}
	return had
}
