package plan

import (
	"net/netip"
	"strconv"
	"testing"

	"labnet/lab/nft"
)

// BenchmarkServices recognises a firewall with 10,000 services and finds no difference.
func BenchmarkServices(b *testing.B) {
	const n = 10000
	r := nft.NewRuleset(nft.IPv4, "services")
	key := []string{"ip daddr", "meta l4proto", "th dport"}
	dispatch := nft.SetOf(nft.IPv4, "services", "dispatch", 0, key...).ToVerdicts()
	r.Sets = append(r.Sets, dispatch)
	for i := range n {
		name := "service-" + strconv.Itoa(i)
		r.Chains = append(r.Chains, nft.Chain{Family: nft.IPv4, Table: "services", Name: name})
		r.Rule(name, nft.Is("meta l4proto", "tcp"), nft.DNAT(netip.MustParseAddrPort("10.42.0.2:8080"), netip.MustParseAddrPort("10.42.1.2:8080")))
		r.Elements = append(r.Elements, nft.Element{
			Family: nft.IPv4, Table: "services", Set: "dispatch", Verdict: "goto " + name,
			Key: nft.KeyOf(key, netip.AddrFrom4([4]byte{10, 43, byte(i >> 8), byte(i)}), "tcp", 80),
		})
	}
	for b.Loop() {
		want, is := &State{}, &State{}
		want.AddRuleset("n", r)
		is.Add(Recognise("n", r, Firewall("n", r))...)
		if c := Diff(is, want); len(c) > 0 {
			b.Fatalf("%d changes, the first %v", len(c), c[0].Lines())
		}
	}
}
