package docker

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab/nft"
)

// TestDump: what is computed is what Docker made, chain by chain and rule by rule.
func TestDump(t *testing.T) {
	text, err := os.ReadFile("testdata/docker.iptables")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-A ") || strings.HasPrefix(line, ":") {
			want = append(want, line)
		}
	}
	got := saved(t, Rules(nft.IPv4, []Bridge{{
		Device: "br-63af15588383", Subnets: []netip.Prefix{netip.MustParsePrefix("172.18.0.0/16"), netip.MustParsePrefix("fd00:18::/64")},
		Published: []Port{{netip.MustParseAddr("172.18.0.2"), "tcp", 80}, {netip.MustParseAddr("fd00:18::2"), "tcp", 80}},
	}}, []netip.Prefix{netip.MustParsePrefix("fd00:42::/48")}))
	byChain := func(a, b string) int { // rules of one chain keep their order
		chain := func(l string) string { return strings.Fields(strings.TrimPrefix(l, "-A "))[0] }
		return strings.Compare(chain(a), chain(b))
	}
	slices.SortStableFunc(want, byChain)
	slices.SortStableFunc(got, byChain)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("not what Docker made (-Docker +here):\n%s", diff)
	}
}

// TestOthers: what is kept apart by its range is kept apart both ways, in its own family.
func TestOthers(t *testing.T) {
	bridges := []Bridge{{Device: "br-a", Subnets: []netip.Prefix{netip.MustParsePrefix("172.18.0.0/16")}}, {Device: "br-b", Subnets: []netip.Prefix{netip.MustParsePrefix("fd00:19::/64")}}}
	others := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd00:42::/48")}
	for family, want := range map[nft.Family][]string{
		nft.IPv4: {
			"-A DOCKER-ISOLATION-STAGE-1 -i br-a ! -o br-a -j DOCKER-ISOLATION-STAGE-2",
			"-A DOCKER-ISOLATION-STAGE-1 -s 10.42.0.0/16 ! -d 10.42.0.0/16 -j DOCKER-ISOLATION-STAGE-2",
			"-A DOCKER-ISOLATION-STAGE-2 -o br-a -j DROP", "-A DOCKER-ISOLATION-STAGE-2 -d 10.42.0.0/16 -j DROP",
		},
		nft.IPv6: {
			"-A DOCKER-ISOLATION-STAGE-1 -i br-b ! -o br-b -j DOCKER-ISOLATION-STAGE-2",
			"-A DOCKER-ISOLATION-STAGE-1 -s fd00:42::/48 ! -d fd00:42::/48 -j DOCKER-ISOLATION-STAGE-2",
			"-A DOCKER-ISOLATION-STAGE-2 -o br-b -j DROP", "-A DOCKER-ISOLATION-STAGE-2 -d fd00:42::/48 -j DROP",
		},
	} {
		var got []string
		for _, chain := range []string{stage1, stage2} {
			for _, line := range saved(t, Rules(family, bridges, others)) {
				if strings.HasPrefix(line, "-A "+chain+" ") {
					got = append(got, line)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if r := Rules(nft.IPv6, bridges[:1], others); len(r.Tables)+len(r.Chains)+len(r.Rules) > 0 {
		t.Errorf("without a bridge of a family there is %v", r)
	}
}

// saved is a ruleset as iptables-save has it, but for chains of its own.
func saved(t *testing.T, r *nft.Ruleset) (lines []string) {
	t.Helper()
	for _, c := range r.Chains {
		if c.Type == "" {
			lines = append(lines, fmt.Sprintf(":%s - [0:0]", c.Name))
		}
	}
	for _, l := range r.Rules {
		words, ok := l.IPTables()
		if !ok {
			t.Errorf("iptables has no words for a rule of %s", l.Chain)
		}
		lines = append(lines, fmt.Sprintf("-A %s %s", l.Chain, words))
	}
	return lines
}
