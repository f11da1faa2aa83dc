package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"labnet/lab/kubeproxy"
	"labnet/lab/nft"
)

// services is a table with n services as kube-proxy's, each with two endpoints.
func services(n int) *nft.Ruleset {
	r := nft.NewRuleset(nft.IPv4, "services")
	key := []string{"ip daddr", "meta l4proto", "th dport"}
	dispatch := nft.SetOf(nft.IPv4, "services", "dispatch", 0, key...).ToVerdicts()
	r.Sets = append(r.Sets, dispatch)
	r.Base("nat", "nat", nft.Prerouting, nft.PriorityDNAT)
	r.Rule("nat", nft.Vmap(dispatch, key...))
	for i := range n {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 10<<24|43<<16|uint32(i))
		name := fmt.Sprintf("service-%d", i)
		r.Chains = append(r.Chains, nft.Chain{Family: nft.IPv4, Table: "services", Name: name})
		r.Rule(name, nft.Is("meta l4proto", "tcp"), nft.DNAT(netip.MustParseAddrPort("10.42.0.2:8080"), netip.MustParseAddrPort("10.42.1.2:8080")))
		r.Elements = append(r.Elements, nft.Element{Family: nft.IPv4, Table: "services", Set: "dispatch", Verdict: "goto " + name, Key: nft.KeyOf(key, netip.AddrFrom4(b), "tcp", 80)})
	}
	return r
}

// TestManyServices loads more than a socket takes at once: in several transactions, none of which is larger than bounded,
// and each said to be made when it is.
func TestManyServices(t *testing.T) {
	inside(t, func() {
		c := dial(t)
		defer c.Close()
		r := services(3000)
		steps := Steps(r)
		var transactions, size int
		before, err := c.generation()
		if err != nil {
			t.Error(err)
		}
		next := 0
		if err := c.Do(t.Context(), steps, func(i int) {
			if i != next {
				t.Errorf("step %d was made when it was the turn of %d", i, next)
			}
			next++
		}); err != nil {
			t.Error(err)
			return
		}
		after, err := c.generation()
		if err != nil {
			t.Error(err)
		}
		for _, s := range steps {
			for _, m := range s.Messages {
				size += unix.NLMSG_HDRLEN + nfgen + len(m.Data)
			}
		}
		transactions = int(after - before)
		if next != len(steps) || transactions < size/large || transactions > 2*(size/batch)+2 {
			t.Errorf("%d of %d steps, of %d bytes, were made in %d transactions", next, len(steps), size, transactions)
		}
		got := read(t, c)
		if len(got.Elements) != 3000 || len(got.Chains) != 3001 || len(got.Rules) != 3001 {
			t.Errorf("there are %d elements, %d chains and %d rules", len(got.Elements), len(got.Chains), len(got.Rules))
		}
		if diff := diff(list(t), got.Text()); diff != "" {
			t.Errorf("what is read prints differently (-nft +here)\n%s", diff)
		}
	})
}

// TestErrors: what fails has a name, nothing of its transaction is made, and the connection serves on. One that removes
// what is gone is no failure.
func TestErrors(t *testing.T) {
	inside(t, func() {
		c := dial(t)
		defer c.Close()
		r := nft.NewRuleset(nft.IPv4, "t")
		r.Base("c", "filter", nft.Forward, nft.PriorityFilter)
		r.Rule("c", nft.Then(nft.Goto, "nowhere"))
		r.Rule("c", nft.Then(nft.Goto, "neither"))
		for range 200 { // all of them fail
			r.Rule("c", nft.Then(nft.Goto, "nor"))
		}
		err := c.Do(t.Context(), Steps(r), func(i int) { t.Errorf("step %d was made", i) })
		if err == nil || !errors.Is(err, unix.ENOENT) || !strings.HasPrefix(err.Error(), "rule of ip t c: ") {
			t.Errorf("the error is %v", err)
		}
		var at *StepError
		if !errors.As(err, &at) || at.Step != 2 {
			t.Errorf("the first rule fails, not %v", at)
		}
		if n := len(read(t, c).Tables); n != 0 {
			t.Errorf("%d tables were left", n)
		}
		write(t, c, nft.NewRuleset(nft.IPv4, "t"))
		if err := c.Do(t.Context(), []Step{
			{Messages: []nft.Message{nft.Chain{Family: nft.IPv4, Table: "t", Name: "gone"}.Del()}, Gone: true},
			{Messages: []nft.Message{nft.Table{Family: nft.IPv4, Name: "t"}.Del()}, Gone: true},
		}, func(int) {}); err != nil {
			t.Error(err)
		}
		if n := len(read(t, c).Tables); n != 0 {
			t.Errorf("%d tables were left", n)
		}
	})
}

// TestOwner: a table can belong to a connection, and goes with it.
func TestOwner(t *testing.T) {
	inside(t, func() {
		mine, other := dial(t), dial(t)
		defer other.Close()
		r := nft.NewRuleset(nft.IPv4, "t")
		r.Tables[0].Flags = nft.Owner
		r.Base("c", "filter", nft.Forward, nft.PriorityFilter)
		write(t, mine, r)
		if text := list(t); !strings.Contains(text, "flags owner") {
			t.Errorf("nft prints\n%s", text)
		}
		if got := read(t, mine); len(got.Tables) != 1 || got.Tables[0].Flags != nft.Owner {
			t.Errorf("the table is %+v", got.Tables)
		}
		if err := other.Do(t.Context(), []Step{{Messages: []nft.Message{r.Tables[0].Del()}}}, func(int) {}); !errors.Is(err, unix.EPERM) {
			t.Errorf("another connection removes it: %v", err)
		}
		mine.Close()
		if n := len(read(t, other).Tables); n != 0 {
			t.Errorf("%d tables outlive their owner", n)
		}
	})
}

// TestLargeRule: a rule with a set of its own that is larger than a transaction is bounded to is one transaction all the same.
func TestLargeRule(t *testing.T) {
	inside(t, func() {
		c := dial(t)
		defer c.Close()
		r := nft.NewRuleset(nft.IPv4, "t")
		r.Base("c", "filter", nft.Forward, nft.PriorityFilter)
		var ports []any
		for i := range 20000 {
			ports = append(ports, i)
		}
		r.Rule("c", nft.OneOf("tcp dport", ports...), nft.Then(nft.Accept))
		write(t, c, r)
		got := read(t, c)
		if len(got.Rules) != 1 || got.Rules[0].Exprs != r.Rules[0].Exprs {
			t.Errorf("the rule is not what was written")
		}
	})
}

// BenchmarkElements loads elements into a map.
func BenchmarkElements(b *testing.B) {
	const n = 10000
	for b.Loop() {
		inside(b, func() {
			c := dial(b)
			defer c.Close()
			r := services(0)
			r.Chains = append(r.Chains, nft.Chain{Family: nft.IPv4, Table: "services", Name: "one"})
			key := []string{"ip daddr", "meta l4proto", "th dport"}
			for i := range n {
				r.Elements = append(r.Elements, nft.Element{
					Family: nft.IPv4, Table: "services", Set: "dispatch", Verdict: "goto one",
					Key: nft.KeyOf(key, netip.AddrFrom4([4]byte{10, 43, byte(i >> 8), byte(i)}), "tcp", 80),
				})
			}
			write(b, c, r)
		})
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/element")
}

// TestInward: whatever services there are, a rule comes after all rules of the chains it jumps to, those of a chain keep their
// order, and none is lost: wherever transactions are cut, no packet meets half of a service.
func TestInward(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 16))
		node, ports := generated(random, nft.IPv4)
		for _, r := range []*nft.Ruleset{kubeproxy.NFTables(node, ports), kubeproxy.IPTables(node, ports), services(50)} {
			left := map[string][]nft.Rule{}
			name := func(l nft.Rule, chain string) string { return l.Table + " " + chain }
			for _, l := range r.Rules {
				left[name(l, l.Chain)] = append(left[name(l, l.Chain)], l)
			}
			for _, i := range Inward(r.Rules) {
				l := r.Rules[i]
				mine := left[name(l, l.Chain)]
				if len(mine) == 0 || mine[0] != l {
					t.Fatalf("seed %d: a rule of %s is not the next of its chain", seed, l.Chain)
				}
				left[name(l, l.Chain)] = mine[1:]
				for _, ref := range l.Exprs.Refs() {
					if chain, ok := strings.CutPrefix(strings.TrimSpace(ref), "chain "); ok && len(left[name(l, chain)]) > 0 {
						t.Fatalf("seed %d: %s leads to %s, which is not whole yet", seed, l.Chain, chain)
					}
				}
			}
			for chain, rules := range left {
				if len(rules) > 0 {
					t.Errorf("seed %d: %d rules of %s are lost", seed, len(rules), chain)
				}
			}
		}
	}
}
