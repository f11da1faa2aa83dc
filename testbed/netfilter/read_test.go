package netfilter

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"unsafe"

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
		write(t, c, r)
		all := read(t, c)
		if diff := diff(all.Text(), knowing(t, c, r).Text()); diff != "" {
			t.Errorf("what is known is other than what is there (-there +known)\n%s", diff)
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
		if text := knowing(t, c, r).Text(); strings.Count(text, "10.42.7.7 . 8080") != 3 {
			t.Errorf("rules of somebody else are taken for ours:\n%s", text)
		}
	})
}

// knowing reads with the rules of a ruleset known.
func knowing(t *testing.T, c *Conn, r *nft.Ruleset) *nft.Ruleset {
	got, err := c.Ruleset(known(r.Rules))
	if err != nil {
		t.Error(err)
		return &nft.Ruleset{}
	}
	return got
}

func known(rules []nft.Rule) *nft.Known {
	k, places := &nft.Known{}, map[string]int{}
	for _, l := range rules {
		in := fmt.Sprint(l.Family, l.Table, l.Chain)
		k.Know(l, places[in])
		places[in]++
	}
	return k
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
		all := read(t, c)
		for _, change := range []string{
			"list ruleset", "insert rule ip many c2 counter drop", "add rule ip many c4 accept", "flush chain ip many c5", "delete chain ip many c6",
			"insert rule ip many c7 ip daddr 10.0.0.7", "insert rule ip services service-1 return",
		} {
			run(t, "", append([]string{"nft"}, strings.Fields(change)...)...)
			var once, each []nft.Rule
			if err := c.rules(nil, &nft.Known{}, &once); err != nil {
				t.Error(err)
			}
			if err := c.rules(read(t, c).Chains, known(all.Rules), &each); err != nil {
				t.Error(err)
			}
			if len(all.Chains) < manyChains || len(once) < manyChains || len(once) != len(each) {
				t.Errorf("after %q there are %d rules in %d chains, and %d chain by chain", change, len(once), len(all.Chains), len(each))
				return
			}
			for i := range once {
				if once[i] != each[i] {
					t.Errorf("after %q rule %d is %+v, and chain by chain %+v", change, i, once[i], each[i])
					return
				}
			}
		}
	})
}

// TestKnownRules: a rule that is taken for the known one, without being read, would be read as that. So it is of every rule that real
// programs make, by what the kernel tells of it, and of whatever differs from that by one bit, and of every other rule.
func TestKnownRules(t *testing.T) {
	for _, file := range []string{"kube-proxy.iptables", "shapes.nft", "flannel.nft"} {
		inside(t, func() {
			text, err := os.ReadFile("testdata/" + file)
			if err != nil {
				t.Error(err)
				return
			}
			if strings.HasSuffix(file, ".nft") {
				run(t, string(text), "nft", "-f", "-")
			} else {
				account(t, "ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts")
				run(t, string(text), "iptables-nft-restore")
			}
			c := dial(t)
			defer c.Close()
			var told [][]byte
			if err := c.dump(nft.Message{Kind: nft.GetRule}, func(f nft.Family, b []byte) error {
				if f == nft.IPv4 {
					told = append(told, bytes.Clone(b))
				}
				return nil
			}); err != nil || len(told) < 5 {
				t.Errorf("%s: %d rules: %v", file, len(told), err)
				return
			}
			found := 0
			for i, b := range told {
				want, err := nft.ParseRule(nft.IPv4, b)
				if err != nil {
					t.Error(err)
					return
				}
				want.Exprs = want.Exprs.Forget()
				taken := func(b []byte) bool {
					is, parsed := nft.ParseRule(nft.IPv4, b)
					expected := want
					expected.Table, expected.Chain, expected.Handle = is.Table, is.Chain, 0
					k := &nft.Known{}
					k.Know(expected, 0)
					got, err := k.Reader()(nft.IPv4, b)
					is.Exprs, got.Exprs = is.Exprs.Forget(), got.Exprs.Forget()
					if parsed == nil && (err != nil || got != is) {
						t.Errorf("%s: %+v is taken for %+v: %v", file, is, got, err)
					}
					return unsafe.StringData(string(got.Exprs)) == unsafe.StringData(string(want.Exprs))
				}
				if taken(b) {
					found++
				}
				for _, other := range told {
					taken(other)
				}
				whole := want.Exprs
				if list, err := whole.List(); err == nil && len(list) > 1 { // of which ours is only the beginning
					want.Exprs = nft.Pack(list[:len(list)-1]...)
					taken(b)
					want.Exprs = whole
				}
				for n := range len(b) * 8 {
					if os.Getenv("LAB_SOAK") == "" && n%7 != i%7 {
						continue
					}
					b[n/8] ^= 1 << (n % 8)
					taken(b)
					b[n/8] ^= 1 << (n % 8)
				}
			}
			const counting = 2 // by nfnetlink_acct, whose matches have what only this kernel knows
			if strings.HasSuffix(file, ".iptables") && found < len(told)-counting || found == 0 {
				t.Errorf("%s: of %d rules %d are known", file, len(told), found)
			}
		})
	}
}
