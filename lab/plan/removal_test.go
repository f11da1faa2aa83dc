package plan_test

import (
	"slices"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
	"labnet/modes"
)

// TestNothingIsRemovedWhileItIsNamed: from each proxy to each other, with each service taken away, and with ports no longer
// published, no chain, set or ipset is removed while something names it that is still there. The kernel would refuse.
func TestNothingIsRemovedWhileItIsNamed(t *testing.T) {
	load := func(name string) *lab.Lab {
		text, _ := labs.Read(name)
		l, _, diags := lab.Load(name+".hcl", text, lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		return l
	}
	l := load("services")
	for _, s := range l.Services.All { // so that chains lead to chains
		s.Type = lab.NodePort
		for i, p := range s.Ports {
			p.NodePort = 31000 + 10*len(s.Name) + i
		}
	}
	state := func(l *lab.Lab, proxy string) *plan.State {
		p, diags := plan.Build(l, plan.Options{Proxy: proxy, Modes: modes.All, Features: plan.AllFeatures()})
		if p == nil {
			t.Fatal(diags)
		}
		return p.State
	}
	for _, from := range lab.Proxies {
		before := state(l, from)
		for _, to := range lab.Proxies {
			removals(t, from+" to "+to, before, state(l, to))
		}
		for i := range l.Services.All {
			rest := slices.Delete(slices.Clone(l.Services.All), i, i+1)
			removals(t, from+" without "+l.Services.All[i].Name, before, state(l.WithServices(rest...), from))
		}
	}
	l = load("docker-networks")
	before, some := state(l, ""), false
	for _, m := range l.Machines {
		for _, p := range m.Pods {
			some = some || len(p.Publishes) > 0
			p.Publishes = nil
		}
	}
	if !some {
		t.Error("lab docker-networks publishes nothing")
	}
	removals(t, "no port is published", before, state(l, ""))
}

// removals replays what would be removed. What is within a table, a chain or a set goes with it.
func removals(t *testing.T, what string, before, after *plan.State) {
	t.Helper()
	there, children := map[plan.Key]plan.Object{}, map[plan.Key][]plan.Key{}
	before.Each(func(o plan.Object) {
		there[o.Key()] = o
		for _, p := range o.Parents() {
			children[p] = append(children[p], o.Key())
		}
	})
	within := func(k, p plan.Key) bool {
		switch p.Kind {
		case plan.KindTable, plan.KindIPSet, plan.KindVirtualServer, plan.KindLink:
			return k.Kind != plan.KindChainRule || p.Kind == plan.KindTable
		case plan.KindSet:
			return k.Kind == plan.KindElement
		case plan.KindChain:
			r, ok := there[k].(plan.ChainRule)
			return ok && r.InChain() == p
		}
		return false
	}
	gone := func(k plan.Key) {
		with := []plan.Key{k}
		goes := map[plan.Key]bool{k: true}
		for i := 0; i < len(with); i++ {
			for _, c := range children[with[i]] {
				if there[c] != nil && !goes[c] && within(c, with[i]) {
					with, goes[c] = append(with, c), true
				}
			}
		}
		for _, g := range with {
			for _, c := range children[g] {
				if there[c] != nil && !goes[c] {
					t.Errorf("%s: %s is removed before %s", what, g, c)
				}
			}
		}
		for _, g := range with {
			delete(there, g)
		}
	}
	for _, c := range plan.Diff(before, after) {
		if c.Op == plan.Delete {
			gone(c.Object.Key())
		}
	}
}
