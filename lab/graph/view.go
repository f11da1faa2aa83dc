package graph

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"labnet/lab/plan"
)

// view is a state, ordered by what is drawn.
type view struct {
	spaces    map[string]plan.Owner
	links     map[plan.End]plan.Link
	names     map[string][]string // of the links of a namespace
	addresses map[plan.End][]netip.Prefix
	impair    map[plan.End]string
	fdb, via  map[plan.End][]netip.Addr // where a device's packets go
	programs  map[plan.End][]string
	agents    map[string][]plan.Agent
	holders   map[netip.Addr]string // the namespaces of addresses
	datapaths map[string]plan.Datapath
}

func look(s *plan.State) *view {
	v := &view{
		spaces: map[string]plan.Owner{}, links: map[plan.End]plan.Link{}, names: map[string][]string{}, addresses: map[plan.End][]netip.Prefix{}, impair: map[plan.End]string{},
		fdb: map[plan.End][]netip.Addr{}, via: map[plan.End][]netip.Addr{}, programs: map[plan.End][]string{}, agents: map[string][]plan.Agent{}, holders: map[netip.Addr]string{}, datapaths: s.Datapaths(),
	}
	s.Each(func(o plan.Object) {
		at := place(o)
		switch o := o.(type) {
		case plan.Namespace:
			if owner, ok := plan.ParseOwner(o.Alias); ok {
				v.spaces[o.Name] = owner
			}
		case plan.Link:
			v.links[at] = o
			v.names[at.Namespace] = append(v.names[at.Namespace], o.Name)
		case plan.Address:
			v.addresses[at] = append(v.addresses[at], o.Prefix)
			if !o.NoLocalRoute {
				v.holders[o.Prefix.Addr()] = at.Namespace
			}
		case plan.Qdisc:
			if text := impairment(o); text != "" {
				v.impair[at] = text
			}
		case plan.FDB:
			v.fdb[at] = append(v.fdb[at], o.Dst)
		case plan.Route:
			if o.Via.IsValid() {
				v.via[at] = append(v.via[at], o.Via)
			}
		case plan.Program:
			v.programs[at] = append(v.programs[at], o.Does)
		case plan.Agent:
			v.agents[o.Namespace] = append(v.agents[o.Namespace], o)
		}
	})
	for _, list := range v.addresses {
		slices.SortFunc(list, func(a, b netip.Prefix) int {
			return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
		})
	}
	return v
}

// impairment says what a qdisc does to packets.
func impairment(q plan.Qdisc) string {
	var words []string
	if q.DelayUS > 0 {
		text := "delay " + duration(q.DelayUS)
		if q.JitterUS > 0 {
			text += " ± " + duration(q.JitterUS)
		}
		words = append(words, text)
	}
	if q.LossPPM > 0 {
		words = append(words, fmt.Sprintf("loss %g %%", float64(q.LossPPM)/1e4))
	}
	switch r := q.Rate; {
	case r == 0:
	case r%1e9 == 0:
		words = append(words, fmt.Sprintf("%d Gbit/s", r/1e9))
	case r%1e6 == 0:
		words = append(words, fmt.Sprintf("%d Mbit/s", r/1e6))
	default:
		words = append(words, fmt.Sprintf("%g kbit/s", float64(r)/1e3))
	}
	return strings.Join(words, ", ")
}

func duration(us uint32) string { return (time.Duration(us) * time.Microsecond).String() }
