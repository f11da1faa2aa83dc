package labs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"labnet/lab"
	"labnet/labs"
)

func TestNames(t *testing.T) {
	want := []string{"bifrost-macvlan", "calico-bgp-rr", "calico-bgp", "calico-ipip", "dual-stack", "flannel-ipip", "flannel-udp", "flannel-vxlan", "hybridnet-bgp", "hybridnet-vlan", "hybridnet-vxlan", "office", "scale", "terway-ipvlan", "three-node"}
	if diff := cmp.Diff(want, labs.Names()); diff != "" {
		t.Error(diff)
	}
	if _, ok := labs.Read("no-such-lab"); ok {
		t.Error("a lab that is not there was read")
	}
}

func TestLabs(t *testing.T) {
	for _, name := range labs.Names() {
		t.Run(name, func(t *testing.T) {
			src, ok := labs.Read(name)
			if !ok {
				t.Fatal("not there")
			}
			l, files, diags := lab.Load(name+".hcl", src, lab.Inputs{})
			if len(diags) > 0 {
				var text strings.Builder
				files.Print(&text, diags, 0, false)
				t.Fatal(text.String())
			}
			if l.Name != name {
				t.Errorf("the lab calls itself %q", l.Name)
			}
			formatted, _ := lab.Format(name+".hcl", src)
			if diff := cmp.Diff(string(src), string(formatted)); diff != "" {
				t.Error("not formatted:\n" + diff)
			}
		})
	}
}

// Every command loads the definition first, so loading must not be felt.
func TestLoadIsFast(t *testing.T) {
	src, _ := labs.Read("scale")
	in := lab.Inputs{Vars: map[string]string{"nodes": "300", "pods": "10"}}
	best := time.Hour
	for range 5 {
		start := time.Now()
		if _, _, diags := lab.Load("scale.hcl", src, in); diags.HasErrors() {
			t.Fatal(diags)
		}
		best = min(best, time.Since(start))
	}
	if best > 100*time.Millisecond {
		t.Errorf("300 nodes with 10 pods took %s", best)
	}
}

func BenchmarkLoad(b *testing.B) {
	src, _ := labs.Read("scale")
	in := lab.Inputs{Vars: map[string]string{"nodes": "300", "pods": "10"}}
	for b.Loop() {
		lab.Load("scale.hcl", src, in)
	}
}
