// Package nft represents nftables as comparable values: tables, chains, sets, their elements and rules. It encodes them as
// the kernel's netlink messages, decodes those, and prints them as nft(8) lists them. Rules are built with nft(8)'s own words,
// see [Build] and [Is].
//
// It does not parse nft(8)'s language and opens no socket: labnet/testbed/netfilter talks to the kernel, and labnet/lab/plan
// compares rulesets. A [Ruleset] is the place to start.
package nft

import (
	"cmp"
	"slices"
	"strconv"
)

// Family is what a table sees: one of netfilter's protocols.
type Family uint8

const (
	INet   Family = 1
	IPv4   Family = 2
	ARP    Family = 3
	NetDev Family = 5
	Bridge Family = 7
	IPv6   Family = 10
)

var familyNames = map[Family]string{INet: "inet", IPv4: "ip", ARP: "arp", NetDev: "netdev", Bridge: "bridge", IPv6: "ip6"}

func (f Family) String() string {
	if name, ok := familyNames[f]; ok {
		return name
	}
	return "?family" + strconv.Itoa(int(f))
}

// Table is what all the rest is in.
type Table struct {
	Family  Family
	Name    string
	Flags   uint32
	Comment string
}

const (
	Dormant = 1 // a table that does nothing
	Owner   = 2 // a table that goes with the socket that made it, and that no other may change
	Persist = 4 // … but stays without it
)

// Chain is a list of rules. One with a type is entered by packets at its hook; others are jumped to.
type Chain struct {
	Family   Family
	Table    string
	Name     string
	Type     string // filter, nat, route
	Hook     uint32
	Priority int32
	Policy   uint32 // Accept or Drop, of one with a type
	Devices  string // of the families netdev and inet at their ingress and egress hooks; separated by spaces
	Flags    uint32
	Comment  string
}

// The hooks of the families ip, ip6, inet and bridge.
const (
	Prerouting  = 0
	Input       = 1
	Forward     = 2
	Output      = 3
	Postrouting = 4
	INetIngress = 5
)

// Hooks of the family netdev.
const (
	Ingress = 0
	Egress  = 1
)

// Set is a set, or a map where its elements have data.
type Set struct {
	Family   Family
	Table    string
	Name     string
	Flags    uint32
	KeyType  uint32 // six bits for each field of a concatenation
	KeyLen   uint32
	DataType uint32
	DataLen  uint32
	ObjType  uint32
	Fields   string // the length of each field, one a byte, of a concatenation with intervals
	Policy   uint32
	Size     uint32
	Timeout  uint64 // milliseconds
	GC       uint32 // milliseconds
	Exprs    Exprs  // what each element has of its own
	Comment  string
	Userdata string // what else nft(8) notes about it
	Mark     string // of what is in it, where a rule has it inline: see [Known]
}

const (
	Anonymous  = 1
	Constant   = 2
	Interval   = 4
	Map        = 8
	TimeoutSet = 16
	Dynamic    = 32
	ObjectMap  = 64
	Concat     = 128
)

// Element is an element of a set.
type Element struct {
	Family   Family
	Table    string
	Set      string
	Key      string // bytes, as they are in a register
	KeyEnd   string // where the element is an interval: its last key
	Data     string
	Verdict  string // of a map of verdicts: goto chain
	Object   string
	Timeout  uint64 // milliseconds
	Expires  uint64 // milliseconds; counted by the kernel
	CatchAll bool
	Exprs    Exprs
	Comment  string
}

// Rule is a rule of a chain. What its lookups have inline are sets of its own.
type Rule struct {
	Family  Family
	Table   string
	Chain   string
	Exprs   Exprs
	Comment string
	Handle  uint64 // the kernel's name of it
}

// Object is a counter, a quota or a limit with a name, or a flowtable, of which no more is known than that it is there.
type Object struct {
	Family  Family
	Table   string
	Name    string
	Type    uint32
	Data    string // attributes, as the kernel reads them
	Comment string
}

const (
	CounterObject = 1
	QuotaObject   = 2
	LimitObject   = 4

	FlowtableObject = 1 << 16 // no number of the kernel's
)

// Ruleset is all of it, each list in the order in which it was made.
type Ruleset struct {
	Tables   []Table
	Objects  []Object
	Sets     []Set
	Elements []Element
	Chains   []Chain
	Rules    []Rule
}

// Of returns what is in one table.
func (r *Ruleset) Of(family Family, table string) *Ruleset {
	return &Ruleset{
		Tables:   filter(r.Tables, func(t Table) bool { return t.Family == family && t.Name == table }),
		Objects:  filter(r.Objects, func(o Object) bool { return o.Family == family && o.Table == table }),
		Sets:     filter(r.Sets, func(s Set) bool { return s.Family == family && s.Table == table }),
		Elements: filter(r.Elements, func(e Element) bool { return e.Family == family && e.Table == table }),
		Chains:   filter(r.Chains, func(c Chain) bool { return c.Family == family && c.Table == table }),
		Rules:    filter(r.Rules, func(l Rule) bool { return l.Family == family && l.Table == table }),
	}
}

func filter[T any](list []T, keep func(T) bool) []T {
	var out []T
	for _, v := range list {
		if keep(v) {
			out = append(out, v)
		}
	}
	return out
}

// Join pairs what the kernel has as two elements: where an interval begins, and the first key after it.
func (s Set) Join(elements []Elem) []Element {
	var list []Element
	if s.Flags&Interval == 0 || s.Flags&Concat != 0 || s.Fields != "" {
		for _, e := range elements {
			one := s.element(e)
			if s.Flags&Interval != 0 && one.KeyEnd == "" {
				one.KeyEnd = one.Key
			}
			list = append(list, one)
		}
		return list
	}
	elements = slices.Clone(elements)
	slices.SortStableFunc(elements, func(a, b Elem) int {
		// At one key an interval ends before the next begins.
		return cmp.Or(cmp.Compare(a.key(), b.key()), cmp.Compare(b.Flags&intervalEnd, a.Flags&intervalEnd))
	})
	open := false
	for _, e := range elements {
		switch {
		case e.Flags&catchAll != 0:
			list = append(list, s.element(e))
			continue
		case e.Key == nil:
			continue
		case e.Flags&intervalEnd != 0:
			if open {
				list[len(list)-1].KeyEnd = step(string(e.Key.Value), -1)
			}
			open = false
			continue
		}
		if open {
			list[len(list)-1].KeyEnd = step(string(e.Key.Value), -1)
		}
		list, open = append(list, s.element(e)), true
	}
	if open {
		last := &list[len(list)-1]
		last.KeyEnd = string(bytesOf(0xff, len(last.Key)))
	}
	return list
}

func (e Elem) key() string {
	if e.Key == nil {
		return ""
	}
	return string(e.Key.Value)
}

// split is the opposite of Join.
func (s Set) split(e Element) []Elem {
	one := e.encode()
	if s.Flags&Interval == 0 || s.Flags&Concat != 0 || s.Fields != "" || e.CatchAll {
		return []Elem{one}
	}
	one.KeyEnd = nil
	last := e.KeyEnd
	if last == "" {
		last = e.Key
	}
	after := step(last, +1)
	if after < last {
		return []Elem{one} // it goes on to the end
	}
	return []Elem{one, {Key: &Data{Value: []byte(after)}, Flags: intervalEnd}}
}

// step is the next number, or the one before, as bytes in network order.
func step(key string, by int) string {
	b := []byte(key)
	for i := len(b) - 1; i >= 0; i-- {
		b[i] += byte(by)
		if by > 0 && b[i] != 0 || by < 0 && b[i] != 0xff {
			break
		}
	}
	return string(b)
}

func bytesOf(value byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = value
	}
	return b
}
