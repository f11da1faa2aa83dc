package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/testbed/netfilter"
)

// firewallKind is all kinds of objects that make up a firewall.
type firewallKind struct{}

// read reads the tables of a namespace. Most namespaces are pods and have none.
func (firewallKind) read(r *reader, v *visit, f *found) error {
	if err := v.step(); err != nil {
		return err
	}
	conn, err := netfilter.Dial()
	if errors.Is(err, netfilter.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	known := &nft.Known{}
	for _, o := range r.firewalls[v.place.Name] {
		if l, ok := o.(plan.ChainRule); ok {
			known.Know(l.Rule(), l.Place)
		}
	}
	rules, err := conn.Ruleset(known)
	if err != nil || len(rules.Tables) == 0 {
		return err
	}
	if err := v.nameIPSets(rules); err != nil {
		return err
	}
	f.objects = append(f.objects, plan.Recognise(v.place.Name, rules, r.firewalls[v.place.Name])...)
	return nil
}

func (firewallKind) set(a *applier, c plan.Change) error {
	return a.changeFirewall([]plan.Change{c}, func(plan.Change) {})
}

func (firewallKind) remove(a *applier, o plan.Object) error {
	return a.changeFirewall([]plan.Change{{Op: plan.Delete, Object: o}}, func(plan.Change) {})
}

// together is the number of changes at the beginning that are of one namespace's firewall.
func together(changes []plan.Change) int {
	n := 0
	for n < len(changes) && plan.InFirewall(changes[n].Object) && changes[n].Object.Key().Namespace == changes[0].Object.Key().Namespace {
		n++
	}
	return n
}

// changeFirewall makes changes of one namespace's firewall, as many as there can be at once.
func (a *applier) changeFirewall(changes []plan.Change, done func(plan.Change)) error {
	changes = inward(changes)
	v, err := a.visits.to(changes[0].Object.Key().Namespace)
	if err != nil {
		if changes[0].Op != plan.Delete || !gone(err) {
			return failed(changes[0], err)
		}
		for _, c := range changes {
			done(c)
		}
		return nil
	}
	if err := v.step(); err != nil {
		return failed(changes[0], err)
	}
	conn, err := netfilter.Dial()
	if err != nil {
		return failed(changes[0], err)
	}
	defer func() {
		a.sent += conn.Sent
		conn.Close()
	}()
	numbered, err := v.numberIPSets(changes)
	if err != nil {
		return err
	}
	steps, owner, err := firewallSteps(conn, numbered)
	if err != nil {
		return failed(changes[0], err)
	}
	left := make([]int, len(changes))
	for _, i := range owner {
		left[i]++
	}
	err = conn.Do(a.ctx, steps, func(step int) {
		i := owner[step]
		if left[i]--; left[i] == 0 {
			done(changes[i])
		}
	})
	var at *netfilter.StepError
	if errors.As(err, &at) {
		return failed(changes[owner[at.Step]], err)
	}
	return err
}

// inward makes rules that are new before what leads packets to them: wherever changes are cut into transactions, no packet
// meets half of a service. All else stays in its order, before them.
func inward(changes []plan.Change) []plan.Change {
	var first, made, ways []plan.Change
	var rules []nft.Rule
	for _, c := range changes {
		r, isRule := c.Object.(plan.ChainRule)
		_, isElement := c.Object.(plan.Element)
		switch {
		case c.Op == plan.Create && isRule:
			made, rules = append(made, c), append(rules, r.Rule())
		case c.Op == plan.Create && isElement:
			ways = append(ways, c)
		default:
			first = append(first, c)
		}
	}
	for _, i := range netfilter.Inward(rules) {
		first = append(first, made[i])
	}
	return append(first, ways...)
}

// firewallSteps says in messages what the changes are; owner names the change of each step.
func firewallSteps(conn *netfilter.Conn, changes []plan.Change) (steps []netfilter.Step, owner []int, err error) {
	id := uint32(1) // of sets in their transaction
	add := func(i int, s netfilter.Step) {
		steps, owner = append(steps, s), append(owner, i)
	}
	places := map[plan.Key]*places{}
	for _, c := range changes {
		if r, ok := c.Object.(plan.ChainRule); ok && c.Op == plan.Create {
			k := r.InChain()
			if places[k] == nil {
				if places[k], err = placesOf(conn, r); err != nil {
					return nil, nil, err
				}
			}
			places[k].made = append(places[k].made, r.Place)
		}
	}
	var replaced []int // rules change after others were put before them by their handle
	for i, c := range changes {
		gone := c.Op == plan.Delete
		step := netfilter.Step{Gone: gone}
		switch o := c.Object.(type) {
		case plan.Table:
			switch c.Op {
			case plan.Create:
				for _, s := range netfilter.Steps(c.Ruleset()) {
					add(i, s)
				}
				continue
			case plan.Update:
				step.Messages = []nft.Message{o.Table.Add()}
			case plan.Delete:
				step.Messages = []nft.Message{o.Table.Del()}
			}
		case plan.Stateful:
			step.Messages = one(gone, o.Object.Add, o.Object.Del)
		case plan.Set:
			step.Messages = one(gone, func() nft.Message { return o.Def.Add(id) }, o.Def.Del)
			id++
		case plan.Chain:
			step.Messages = one(gone, o.Chain.Add, o.Chain.Del)
		case plan.Element:
			set := o.OfSet()
			if before, ok := c.Before.(plan.Element); ok {
				step.Messages = set.DelElements([]nft.Element{before.Element})
			}
			if gone {
				step.Messages = set.DelElements([]nft.Element{o.Element})
			} else {
				step.Messages = append(step.Messages, set.AddElements([]nft.Element{o.Element})...)
			}
		case plan.ChainRule:
			switch c.Op {
			case plan.Create:
				step.Messages, id = o.Rule().Add(nft.Where{Before: places[o.InChain()].before(o.Place)}, id)
			case plan.Update:
				replaced = append(replaced, i)
				continue
			case plan.Delete:
				step.Messages = []nft.Message{o.Rule().Del()}
			}
		default:
			return nil, nil, fmt.Errorf("nobody knows how to make a %T", o)
		}
		add(i, step)
	}
	for _, i := range replaced {
		before := changes[i].Before.(plan.ChainRule)
		var step netfilter.Step
		step.Messages, id = changes[i].Object.(plan.ChainRule).Rule().Add(nft.Where{Replace: before.Handle}, id)
		add(i, step)
	}
	return steps, owner, nil
}

func one(gone bool, add, del func() nft.Message) []nft.Message {
	if gone {
		return []nft.Message{del()}
	}
	return []nft.Message{add()}
}

// places are the rules that a chain has before others are put between them.
type places struct {
	handles []uint64
	made    []int // the places of those that come, in order
}

func placesOf(conn *netfilter.Conn, r plan.ChainRule) (*places, error) {
	rules, err := conn.Rules(r.Family, r.Table, r.Chain)
	if errors.Is(err, unix.ENOENT) {
		err = nil // a chain that is made by the same transaction
	}
	p := &places{}
	for _, l := range rules {
		p.handles = append(p.handles, l.Handle)
	}
	return p, err
}

// before returns the handle of the first rule that was there and stands behind a place; 0 where there is none.
func (p *places) before(place int) uint64 {
	made := 0
	for _, m := range p.made {
		if m < place {
			made++
		}
	}
	if i := place - made; i >= 0 && i < len(p.handles) {
		return p.handles[i]
	}
	return 0
}

var firewallProbes = []probe{
	{plan.FeatureNFTables, []string{"nf_tables", "nft_chain_nat", "nft_masq"}, func(*netlink.Handle) error {
		r := nft.NewRuleset(nft.IPv4, "probe")
		r.Base("c", "nat", nft.Postrouting, nft.PrioritySNAT)
		r.Rule("c", nft.Masquerade(0))
		return loads(r)
	}},
	{plan.FeatureIPTables, []string{"nft_compat", "xt_comment", "xt_conntrack", "xt_addrtype", "xt_statistic", "xt_recent", "xt_mark", "xt_nat", "xt_MASQUERADE", "ipt_REJECT", "ip6t_REJECT", "xt_tcpudp"}, func(*netlink.Handle) error {
		r := nft.NewRuleset(nft.IPv4, "nat")
		r.Base("POSTROUTING", "nat", nft.Postrouting, nft.PrioritySNAT)
		r.Base("OUTPUT", "nat", nft.Output, nft.PriorityDNAT)
		r.Rule("POSTROUTING", nft.Comment("probe"), nft.State(nft.StateNew), nft.ToLocal(), nft.Probably(0.5), nft.MasqueradesByLot())
		r.Rule("OUTPUT", nft.Seen("probe", 1), nft.Mark(1, 1))
		r.Rule("OUTPUT", nft.Is("meta l4proto", "tcp"), nft.AnyPort("tcp"), nft.DNATs(netip.MustParseAddrPort("192.0.2.1:80")))
		f := nft.NewRuleset(nft.IPv4, "filter")
		f.Base("INPUT", "filter", nft.Input, nft.PriorityFilter)
		f.Rule("INPUT", nft.Rejects())
		return errors.Join(loads(r), loads(f))
	}},
}

// loads tries a ruleset.
func loads(r *nft.Ruleset) error {
	conn, err := netfilter.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Do(context.Background(), netfilter.Steps(r), func(int) {})
}
