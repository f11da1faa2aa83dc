package modes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
)

// TestMACsAreUnique plans hundreds of random labs, with addresses that are alike in all their last bits, in every mode: no
// segment has one MAC address twice.
func TestMACsAreUnique(t *testing.T) {
	modes := append(slices.DeleteFunc(All.Names(), func(name string) bool { return asks[name] }), "calico", "hybridnet", "calico-ipip", "l3", "tagged", "serviced", "")
	planned := map[string]int{}
	ipv6 := map[string]int{}
	for seed := range uint64(100) {
		for _, mode := range modes {
			text := randomLab(rand.New(rand.NewPCG(seed, 3)), mode)
			l, _, diags := lab.Load("random.hcl", []byte(text), lab.Inputs{})
			if diags.HasErrors() {
				t.Fatalf("seed %d, mode %q: the test writes a lab that is wrong: %v\n%s", seed, mode, diags, text)
			}
			for _, f := range []plan.Features{plan.AllFeatures(), bare()} {
				p, diags := plan.Build(l, plan.Options{Modes: All, Features: f})
				if diags.HasErrors() {
					continue // not every lab suits every mode
				}
				planned[mode]++
				if strings.Contains(text, `cidr = "fd`) || mode == "" && !strings.Contains(text, "10.") {
					ipv6[mode]++
				}
				for where, links := range segments(p.State) {
					seen := map[string]plan.Link{}
					for _, l := range links {
						if other, twice := seen[l.MAC]; twice {
							t.Fatalf("seed %d, mode %q: on %s both %s of %s and %s of %s are %s\n%s", seed, mode, where, l.Name, l.Namespace, other.Name, other.Namespace, l.MAC, text)
						}
						seen[l.MAC] = l
					}
				}
			}
		}
	}
	for _, mode := range modes {
		if planned[mode] < 20 {
			t.Errorf("only %d of the labs suited mode %q", planned[mode], mode)
		}
	}
	for _, mode := range []string{"host-gw", "vxlan", "macvlan", "ipvlan", "calico", "bgp", ""} {
		if ipv6[mode] < 5 {
			t.Errorf("only %d of the labs for mode %q were of IPv6 alone", ipv6[mode], mode)
		}
	}
}

// segments lists what can hear one another's frames: the ports of a bridge, what is at their other ends, and the macvlan
// devices on that; the two ends of a veth pair; the ends of a VXLAN. VLANs are not told apart: one bridge has learnt all the
// addresses. Devices that have the address of the one they stand on are part of it.
func segments(s *plan.State) map[string][]plan.Link {
	all := map[string][]plan.Link{}
	find := func(e plan.End) plan.Link {
		l, _ := s.Get(plan.Key{Namespace: e.Namespace, Kind: plan.KindLink, Name: e.Name}).(plan.Link)
		return l
	}
	above := map[plan.End][]plan.Link{}
	s.Each(func(o plan.Object) {
		if p, ok := o.(plan.Program); ok && p.Does == "vlan-pop" { // an emulated VLAN device says what it stands on so
			device := find(plan.End{Namespace: p.Namespace, Name: p.To})
			end := plan.End{Namespace: p.Namespace, Name: p.Link}
			above[end] = append(above[end], device)
		}
		if l, ok := o.(plan.Link); ok && l.Below() != (plan.End{}) {
			above[l.Below()] = append(above[l.Below()], l)
		}
	})
	var station func(l plan.Link) []plan.Link
	station = func(l plan.Link) []plan.Link {
		links := []plan.Link{l}
		for _, up := range above[plan.End{Namespace: l.Namespace, Name: l.Name}] {
			switch up.Type() {
			case "macvlan":
				links = append(links, up)
			case "vlan", "ifb":
				links = append(links, station(up)[1:]...)
			}
		}
		return links
	}
	s.Each(func(o plan.Object) {
		l, ok := o.(plan.Link)
		if !ok {
			return
		}
		switch d := l.Device.(type) {
		case plan.Bridge:
			where := "bridge " + l.Name + " of " + l.Namespace
			all[where] = append(all[where], l)
		case plan.VXLAN:
			where := fmt.Sprintf("VXLAN %d at port %d", d.VNI, d.Port)
			all[where] = append(all[where], l)
		case plan.Veth:
			if l.Makes() {
				where := "the pair of " + l.Name + " of " + l.Namespace
				all[where] = []plan.Link{l, find(d.Peer)}
			}
		}
		if l.Port.Bridge != "" {
			where := "bridge " + l.Port.Bridge + " of " + l.Namespace
			all[where] = append(all[where], l)
			if l.Peer() != (plan.End{}) {
				all[where] = append(all[where], station(find(l.Peer()))...)
			}
		}
	})
	return all
}

// randomLab writes a lab that loads: switches with VLANs, routers on all of them, hosts and nodes.
func randomLab(r *rand.Rand, mode string) string {
	var b strings.Builder
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	// Subnets of a segment: of IPv4, of IPv6, or of both in either order; n tells segments apart.
	families := one("4", "6", "46", "64")
	subnets := func(n int) (list string, address func(host int) string) {
		v4, v6 := fmt.Sprintf("10.%d.0.0/16", n), fmt.Sprintf("fd00:%d::/64", n)
		of := func(a, b string) string {
			switch families {
			case "4":
				return fmt.Sprintf("%q", a)
			case "6":
				return fmt.Sprintf("%q", b)
			case "46":
				return fmt.Sprintf("[%q, %q]", a, b)
			}
			return fmt.Sprintf("[%q, %q]", b, a)
		}
		return of(v4, v6), func(host int) string {
			// The last 32 bits are the same for all hosts of IPv6, on all segments.
			return of(fmt.Sprintf("10.%d.1.%d", n, host), fmt.Sprintf("fd00:%d::%x:0:2", n, host))
		}
	}
	fmt.Fprintf(&b, "lab \"random\" {}\n")
	switches := 1 + r.IntN(2)
	vlans := r.IntN(3)
	explicit := r.IntN(2) == 0
	on := func(s, vlan, host int, trunk string) string {
		attrs := trunk
		n := s
		if vlan > 0 {
			attrs += fmt.Sprintf("vlan = %d\n", vlan*10)
			n = s*10 + vlan
		}
		if _, address := subnets(n); explicit {
			attrs += fmt.Sprintf("address = %s\n", address(host))
		}
		return fmt.Sprintf("  on \"s%d\" {\n%s}\n", s, attrs)
	}
	for s := 1; s <= switches; s++ {
		list, _ := subnets(s)
		fmt.Fprintf(&b, "switch \"s%d\" {\n  subnet = %s\n", s, list)
		for v := 1; v <= vlans; v++ {
			list, _ := subnets(s*10 + v)
			fmt.Fprintf(&b, "  vlan \"%d\" {\n    subnet = %s\n  }\n", v*10, list)
		}
		b.WriteString("}\n")
	}
	for i := 1; i <= 2; i++ {
		fmt.Fprintf(&b, "router \"gw%d\" {\n", i)
		for s := 1; s <= switches; s++ {
			for v := range vlans + 1 {
				b.WriteString(on(s, v, i, ""))
			}
		}
		b.WriteString("}\n")
	}
	for i := range 1 + r.IntN(4) {
		fmt.Fprintf(&b, "host \"h%d\" {\n%s}\n", i, on(1+r.IntN(switches), r.IntN(vlans+1), 10+i, ""))
	}
	trunk := ""
	if vlans > 0 {
		trunk = "trunk = 10\n"
	}
	spread := switches
	if mode != "vxlan" && mode != "hybridnet" && mode != "calico" && mode != "ipip" {
		spread = 1 // many modes want their nodes on one segment
	}
	for i := range 2 + r.IntN(3) {
		pods := 1 + r.IntN(3)
		if mode == "" {
			pods = 0
		}
		fmt.Fprintf(&b, "node \"n%d\" {\n%s  pods = %d\n}\n", i, on(1+r.IntN(spread), 0, 20+i, trunk), pods)
	}
	if mode == "" {
		return b.String()
	}
	cidr := `"172.16.0.0/16"`
	switch only4 := mode == "ipip" || mode == "calico-ipip" || mode == "hybridnet" || mode == "udp" || mode == "vlan"; {
	case only4 && mode == "vlan":
		cidr = `"10.11.128.0/20"`
	case only4 || families == "4":
	case families == "6":
		cidr = `"fd42::/48"`
	case families == "46":
		cidr = `["172.16.0.0/16", "fd42::/48"]`
	default:
		cidr = `["fd42::/48", "172.16.0.0/16"]`
	}
	fmt.Fprintf(&b, "network \"pods\" {\n  cidr = %s\n  mode = %q\n}\n", cidr, mode)
	b.WriteString(map[string]string{
		"calico":      "mode \"calico\" {\n  use = \"vxlan\"\n  like = \"calico\"\n}\n",
		"hybridnet":   "mode \"hybridnet\" {\n  use = \"vxlan\"\n  like = \"hybridnet\"\n}\n",
		"calico-ipip": "mode \"calico-ipip\" {\n  use = \"ipip\"\n  like = \"calico\"\n}\n",
		"l3":          "mode \"l3\" {\n  use = \"ipvlan\"\n  like = \"l3\"\n}\n",
		"serviced":    "mode \"serviced\" {\n  use = \"macvlan\"\n  service_veth = true\n}\n",
		"tagged":      "mode \"tagged\" {\n  use = \"macvlan\"\n  vlan = 10\n}\n",
	}[mode])
	return b.String()
}
