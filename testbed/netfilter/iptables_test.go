package netfilter

import (
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab/kubeproxy"
	"labnet/lab/nft"
)

// dumped is what kube-proxy was told of when its tables were saved to testdata/kube-proxy.iptables.
func dumped() *nft.Ruleset {
	endpoints := []netip.AddrPort{netip.MustParseAddrPort("10.42.0.2:8080"), netip.MustParseAddrPort("10.42.1.2:8080")}
	port := kubeproxy.Port{Service: "default/web", Name: "http", Protocol: "tcp", Port: 80, Address: netip.MustParseAddr("10.43.0.10"), Endpoints: endpoints}
	outside, empty := port, port
	outside.Service, outside.Address, outside.NodePort = "default/webnp", netip.MustParseAddr("10.43.0.11"), 30080
	empty.Service, empty.Address, empty.Endpoints = "default/empty", netip.MustParseAddr("10.43.0.12"), nil
	return kubeproxy.IPTables(kubeproxy.Node{
		Family: nft.IPv4, Pods: netip.MustParsePrefix("10.42.0.0/16"), Local: func(netip.Addr) bool { return false },
	}, []kubeproxy.Port{port, outside, empty})
}

// saved is kube-proxy's dump without its two counters of nfnetlink_acct, and without the time.
func saved(t *testing.T) string {
	text, err := os.ReadFile("testdata/kube-proxy.iptables")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || strings.Contains(line, "localhost_nps_accepted_pkts") {
			continue
		}
		lines = append(lines, strings.Replace(line, " -m nfacct --nfacct-name  ct_state_invalid_dropped_pkts", "", 1))
	}
	return strings.Join(lines, "")
}

// TestIPTablesSave: what is written for kube-proxy's iptables is to iptables what kube-proxy wrote, rule by rule and chain by
// chain; and to the kernel it is the same, attribute by attribute, as what iptables-restore makes of the dump.
func TestIPTablesSave(t *testing.T) {
	want := saved(t)
	inside(t, func() {
		c := dial(t)
		defer c.Close()
		write(t, c, dumped())
		words := map[string][]string{}
		for _, l := range dumped().Rules {
			text, ok := l.IPTables()
			if !ok {
				t.Errorf("a rule of %s has no words", l.Chain)
			}
			words[l.Table] = append(words[l.Table], "-A "+l.Chain+" "+text)
		}
		for table, all := range words {
			said := strings.FieldsFunc(regexp.MustCompile(`(?m)^:.*\n`).ReplaceAllString(tables(want)[table], ""), func(c rune) bool { return c == '\n' })
			if diff := cmp.Diff(slices.Sorted(slices.Values(said)), slices.Sorted(slices.Values(all))); diff != "" {
				t.Errorf("iptables-save writes the rules of %s otherwise (-iptables +here):\n%s", table, diff)
			}
		}
		if diff := cmp.Diff(tables(want), tables(save(t))); diff != "" {
			t.Errorf("to iptables it is something else (-kube-proxy +here):\n%s", diff)
		}
		ours := byChain(read(t, c))
		run(t, "", "nft", "flush", "ruleset")
		run(t, want, "iptables-nft-restore")
		if diff := cmp.Diff(byChain(read(t, c)), ours); diff != "" {
			t.Errorf("to the kernel it is something else (-iptables +here):\n%s", diff)
		}
	})
}

// tables are what iptables-save prints, by the table.
func tables(text string) map[string]string {
	all := map[string]string{}
	for _, t := range regexp.MustCompile(`(?s)\*(\w+)\n(.*?)COMMIT\n`).FindAllStringSubmatch(text, -1) {
		all[t[1]] = t[2]
	}
	return all
}

// byChain are the expressions of each rule.
func byChain(r *nft.Ruleset) map[string][]nft.Exprs {
	all := map[string][]nft.Exprs{}
	for _, l := range r.Rules {
		name := l.Table + " " + l.Chain
		all[name] = append(all[name], l.Exprs)
	}
	return all
}
