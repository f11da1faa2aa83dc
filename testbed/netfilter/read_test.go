package netfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"labnet/lab/nft"
)

// TestInlineSetsAreKnown: what a rule has inline is not read where it is known by its mark. That it can be no other is the kernel's
// word: it refuses to change the set of a rule. A rule that somebody puts in the place of one of ours has no mark.
func TestInlineSetsAreKnown(t *testing.T) {
	inside(t, func() {
		c := dial(t)
		defer c.Close()
		r := services(3)
		known := nft.Known{}
		for _, l := range r.Rules {
			known.Know(l.Exprs)
		}
		if len(known) != 1 { // all have the same
			t.Errorf("%d contents are known", len(known))
		}
		write(t, c, r)
		all := read(t, c)
		some, err := c.Ruleset(known)
		if err != nil {
			t.Error(err)
			return
		}
		if diff := diff(all.Text(), some.Text()); diff != "" {
			t.Errorf("what is known is other than what is there (-there +known)\n%s", diff)
		}
		for mark := range known { // nobody has asked the kernel, so that another would go unnoticed
			known[mark] = (&nft.Inline{KeyLen: 4, DataLen: 4, Flags: nft.Map}).Contents()
		}
		if other, err := c.Ruleset(known); err != nil || other.Text() == all.Text() {
			t.Errorf("what is known is read (%v)", err)
		}
		for _, s := range inlineSets(t, c) {
			elements, err := c.elements(s, nft.Rule{})
			if err != nil || len(elements) != 2 {
				t.Errorf("%s has %d elements: %v", s.Name, len(elements), err)
				return
			}
			one := s.Join(elements)[:1]
			other := one[0]
			other.Key = string([]byte{7, 0, 0, 0})
			for what, messages := range map[string][]nft.Message{"add to": s.AddElements([]nft.Element{other}), "take from": s.DelElements(one)} {
				if err := c.Do(t.Context(), []Step{{Messages: messages}}, func(int) {}); !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EOPNOTSUPP) {
					t.Errorf("the kernel lets somebody %s %s: %v", what, s.Name, err)
				}
			}
		}
		for _, l := range all.Rules {
			if strings.HasPrefix(l.Chain, "service-") {
				run(t, "", "nft", "replace", "rule", "ip", "services", l.Chain, "handle", fmt.Sprint(l.Handle), "meta", "l4proto", "tcp", "dnat", "ip", "to",
					"numgen", "random", "mod", "2", "map", "{ 0 : 10.42.0.2 . 8080, 1 : 10.42.7.7 . 8080 }")
			}
		}
		if text := mustKnow(t, c, r).Text(); strings.Count(text, "10.42.7.7 . 8080") != 3 {
			t.Errorf("rules of somebody else are taken for ours:\n%s", text)
		}
	})
}

// mustKnow reads with what a ruleset has inline known.
func mustKnow(t *testing.T, c *Conn, r *nft.Ruleset) *nft.Ruleset {
	known := nft.Known{}
	for _, l := range r.Rules {
		known.Know(l.Exprs)
	}
	got, err := c.Ruleset(known)
	if err != nil {
		t.Error(err)
		return &nft.Ruleset{}
	}
	return got
}

// inlineSets are the sets that rules have inline.
func inlineSets(t *testing.T, c *Conn) (sets []nft.Set) {
	if err := c.dump(nft.Message{Kind: nft.GetSet}, func(f nft.Family, b []byte) error {
		s, err := nft.ParseSet(f, b)
		if s.Flags&nft.Anonymous != 0 {
			sets = append(sets, s)
		}
		return err
	}); err != nil || len(sets) == 0 {
		t.Errorf("%d sets: %v", len(sets), err)
	}
	return sets
}

// TestRulesByChain: read chain by chain rules are the same, and in the same order, as all at once.
func TestRulesByChain(t *testing.T) {
	inside(t, func() {
		c := dial(t)
		defer c.Close()
		r := nft.NewRuleset(nft.IPv4, "many")
		for i := range manyChains {
			name := fmt.Sprintf("c%d", i)
			r.Chains = append(r.Chains, nft.Chain{Family: nft.IPv4, Table: "many", Name: name})
			for range i % 3 {
				r.Rule(name, nft.Is("ip daddr", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})))
			}
		}
		write(t, c, r)
		write(t, c, services(3))
		var once, each []nft.Rule
		if err := c.rules(nil, collect(&once, nft.ParseRule)); err != nil {
			t.Error(err)
		}
		all := read(t, c)
		if err := c.rules(all.Chains, collect(&each, nft.ParseRule)); err != nil {
			t.Error(err)
		}
		if len(all.Chains) < manyChains || len(once) < manyChains || len(once) != len(each) || len(all.Rules) != len(once) {
			t.Errorf("of %d chains there are %d rules, and %d chain by chain", len(all.Chains), len(once), len(each))
			return
		}
		for i := range once {
			if once[i] != each[i] {
				t.Errorf("rule %d is %+v, and chain by chain %+v", i, once[i], each[i])
				return
			}
		}
	})
}
