package plan

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// endless is a mode that never comes to an end.
type endless struct{ Mode }

func (e endless) Decode(hcl.Body, *hcl.EvalContext) (Mode, hcl.Diagnostics) { return e, nil }
func (endless) Needs(*Net) []Need                                           { return nil }
func (endless) Allocate(*Net) hcl.Diagnostics                               { return nil }
func (endless) Plan(c *Net, s *State) (diags hcl.Diagnostics) {
	for i := 0; ; i++ {
		s.Add(Route{Namespace: c.Nodes[0].Namespace, Table: i, Dst: Everywhere(false)})
	}
}

// many is a mode that finds more wrong than anybody reads.
type many struct{ endless }

func (m many) Decode(hcl.Body, *hcl.EvalContext) (Mode, hcl.Diagnostics) { return m, nil }
func (many) Allocate(c *Net) (diags hcl.Diagnostics) {
	for i := range 5000 {
		diags = append(diags, &hcl.Diagnostic{Severity: []hcl.DiagnosticSeverity{hcl.DiagWarning, hcl.DiagError}[i%2], Summary: "Wrong", Detail: fmt.Sprint(i), Subject: c.Lab.Range.Ptr()})
	}
	return diags
}

func TestPlanIsBounded(t *testing.T) {
	defer func(n int) { maxObjects = n }(maxObjects)
	maxObjects = 1 << 16
	l, _, diags := lab.Load("x.hcl", []byte(`lab "x" {}
switch "s" { subnet = "10.0.0.0/24" }
node "n" {
  on "s" {}
}
network "p" {
  cidr = "10.9.0.0/16"
  mode = "endless"
}`), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	modes := Modes{{"endless", endless{}}, {"many", many{}}}
	p, diags := Build(l, Options{Modes: modes, Features: AllFeatures()})
	if p != nil || len(diags) != 1 || diags[0].Summary != "Lab too large" || diags[0].Subject.Start.Line != 8 {
		t.Errorf("an endless plan: %v, %v", p, diags)
	}
	p, diags = Build(l, Options{Mode: "many", Modes: modes, Features: AllFeatures()})
	if p != nil || len(diags) != 100 || diags[98].Severity != hcl.DiagError || diags[99].Detail != "There are 2401 more. Fix the ones above first." {
		t.Errorf("5000 diagnostics, half of them errors: %d of them, the last %v", len(diags), diags[len(diags)-1])
	}
}

// TestBlocks holds blocks against what stepping through all of them finds, in networks so small that this is possible, and
// does not step through those where it is not.
func TestBlocks(t *testing.T) {
	slow := func(b blocks) (found []netip.Prefix) {
	search:
		for block := b.next; b.within.Contains(block.Addr()); block = after(block, block.Bits()) {
			for _, t := range b.taken {
				if t.Overlaps(block) {
					continue search
				}
			}
			found = append(found, block)
		}
		return found
	}
	within := netip.MustParsePrefix("10.0.0.0/24")
	for _, length := range []int{24, 26, 28, 30} {
		for seed := range 500 {
			var taken []netip.Prefix
			for i, at := 0, seed; i < 4; i, at = i+1, at/3 {
				p := netip.PrefixFrom(Nth(within, i*64+at%4*16), 26+at%5).Masked()
				if len(taken) == 0 || !taken[len(taken)-1].Overlaps(p) {
					taken = append(taken, p)
				}
			}
			b := blocks{within, netip.PrefixFrom(within.Addr(), length), taken}
			want := slow(b)
			var got []netip.Prefix
			for block, ok := b.take(); ok; block, ok = b.take() {
				got = append(got, block)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("/%d without %v: %v, not %v", length, taken, got, want)
			}
		}
	}
	start := time.Now()
	for _, cidr := range []string{"::/0", "fd00::/8", "0.0.0.0/0", "ffff::/16"} {
		p := netip.MustParsePrefix(cidr)
		half := netip.PrefixFrom(p.Addr(), p.Bits()+1)
		b := blocks{p, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()-8), []netip.Prefix{half}}
		if got, ok := b.take(); !ok || got.Addr() != Last(half).Next() {
			t.Errorf("%s without %s: %v", p, half, got)
		}
		whole := blocks{p, b.next, []netip.Prefix{p}}
		whole.next = netip.PrefixFrom(p.Addr(), p.Addr().BitLen()-8)
		if got, ok := whole.take(); ok {
			t.Errorf("%s is taken, and yet there is %v", p, got)
		}
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it steps: %s", d)
	}
}
