package labs_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab"
	"labnet/labs"
)

func TestNames(t *testing.T) {
	want := []string{"bifrost-macvlan", "bifrost-services", "calico-bgp-rr", "calico-bgp", "calico-ipip", "cni-bridge", "cni-flannel", "docker-networks", "dual-stack", "flannel-ipip", "flannel-udp", "flannel-vxlan", "guestbook", "hybridnet-bgp", "hybridnet-vlan", "hybridnet-vxlan", "office", "racks", "scale", "services-scale", "services", "six-ways", "sweep", "terway-ipvlan", "three-node"}
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

// Every command loads the definition first, so what loading costs must grow no faster than the lab; BenchmarkLoad tells how
// long it takes.
func TestLoadGrowsWithTheLab(t *testing.T) {
	src, _ := labs.Read("scale")
	allocations := func(nodes string) float64 {
		return testing.AllocsPerRun(3, func() {
			if _, _, diags := lab.Load("scale.hcl", src, lab.Inputs{Vars: map[string]string{"nodes": nodes, "pods": "10"}}); diags.HasErrors() {
				t.Fatal(diags)
			}
		})
	}
	if few, many := allocations("30"), allocations("300"); many > 12*few {
		t.Errorf("ten times as many nodes cost %g allocations instead of %g", many, few)
	} else {
		t.Logf("30 nodes cost %g allocations, 300 cost %g", few, many)
	}
}

func BenchmarkLoad(b *testing.B) {
	src, _ := labs.Read("scale")
	in := lab.Inputs{Vars: map[string]string{"nodes": "300", "pods": "10"}}
	for b.Loop() {
		lab.Load("scale.hcl", src, in)
	}
}
