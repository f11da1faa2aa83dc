package nft_test

import (
	"fmt"
	"net/netip"

	"labnet/lab/nft"
)

// A ruleset is built with nft(8)'s words, and prints as nft(8) lists it.
func ExampleRuleset() {
	pods := netip.MustParsePrefix("10.42.0.0/16")
	r := nft.NewRuleset(nft.IPv4, "masquerade")
	r.Base("postrouting", "nat", nft.Postrouting, nft.PrioritySNAT)
	r.Rule("postrouting", nft.Is("ip saddr", pods), nft.Not("ip daddr", pods), nft.Masquerade(0))
	fmt.Print(r.Text())
	// Output:
	// table ip masquerade {
	// 	chain postrouting {
	// 		type nat hook postrouting priority srcnat; policy accept;
	// 		ip saddr 10.42.0.0/16 ip daddr != 10.42.0.0/16 masquerade
	// 	}
	// }
}
