package suite

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab/plan"
	"labnet/testbed"
)

// conflist is one of plugins, as settings of the mode.
func conflist(settings string, plugins ...string) string {
	return fmt.Sprintf("  conflist = {\n    name = \"pods\"\n    cniVersion = \"1.1.0\"\n    plugins = [\n%s\n    ]\n  }\n  %s\n", strings.Join(plugins, ",\n"), settings)
}

const (
	blockOfNode = `ipam = { type = "host-local", ranges = [[{ subnet = node.pod_cidr }]], routes = [{ dst = "0.0.0.0/0" }] }`
	// allOnSegment gives the pods of all nodes one subnet, in which each node has a range.
	allOnSegment = `ipam = { type = "host-local", ranges = [[{ subnet = "10.42.0.0/16", rangeStart = cidrhost(node.pod_cidr, 10), rangeEnd = cidrhost(node.pod_cidr, 250) }]] }`
)

var real = []struct{ name, settings string }{
	{"bridge", conflist("", `{ type = "bridge", bridge = "cni0", isGateway = true, `+blockOfNode+` }`, `{ type = "tuning", sysctl = { "net.ipv4.conf.eth0.arp_notify" = "1" } }`)},
	{"ptp", conflist("", `{ type = "ptp", mtu = 1400, `+blockOfNode+` }`)},
	{"macvlan", conflist("routes = \"none\"\n  expect {\n    nodes = false\n  }", `{ type = "macvlan", master = "eth0", mode = "bridge", `+allOnSegment+` }`)},
	{"ipvlan", conflist("routes = \"none\"\n  expect {\n    nodes = false\n  }", `{ type = "ipvlan", master = "eth0", mode = "l2", `+allOnSegment+` }`)},
	{"vlan", conflist("routes = \"none\"\n  expect {\n    nodes = false\n    encap = \"vlan\"\n    vlan  = 20\n  }", `{ type = "vlan", master = "eth0", vlanId = 20, `+allOnSegment+` }`)},
}

// TestRealPlugins: the plugins of containernetworking/plugins do in a lab what they promise.
func TestRealPlugins(t *testing.T) {
	f := needRoot(t)
	for _, tt := range real {
		t.Run(tt.name, func(t *testing.T) {
			if need := plan.Feature(tt.name); tt.name == "vlan" || tt.name == "ipvlan" {
				if need == "vlan" {
					need = plan.FeatureVLAN
				}
				if !f[need] {
					t.Skipf("this kernel has no %s", need)
				}
			}
			text := cniLab(tt.settings)
			if tt.name == "vlan" {
				text = strings.Replace(text, "pods = 2", "pods = 1", 1) // a device has one sub-interface of a VLAN
				text = strings.Replace(strings.Replace(text, "on \"lan\" {}", "on \"lan\" { trunk = [20] }", 1), `{ subnet = "192.168.205.0/24" }`, "{\n  subnet = \"192.168.205.0/24\"\n  vlan \"20\" { subnet = \"10.20.0.0/24\" }\n}", 1)
			}
			p := planned(t, parse(t, "plugged.hcl", text), "real", "")
			up(t, p)
			healthy(t, p)
			removed(t, p)
			nothingIsLeft(t, p)
		})
	}
}

var (
	hostEnd = regexp.MustCompile(`veth[0-9a-f]{8}`)
	podAddr = regexp.MustCompile(`10\.42\.[0-9.]+`)
)

// shapes is what a lab's nodes and pods have of links, addresses and routes, without what is drawn by lot or by name: names of
// host ends, MAC addresses, and the queue length of veths and macvlans, which has no effect on them and was 0 with the plugins
// of version 1.1. plain leaves out which address a pod has as well.
func shapes(t *testing.T, p *plan.Plan, plain bool) []string {
	t.Helper()
	s, err := testbed.Read(t.Context(), p.Cluster.Name, p.State)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	add := func(line string) {
		line = hostEnd.ReplaceAllString(line, "veth")
		if plain {
			line = podAddr.ReplaceAllString(line, "POD")
		}
		lines = append(lines, line)
	}
	s.Each(func(o plan.Object) {
		switch o := o.(type) {
		case plan.Link:
			is := o.Device
			switch d := is.(type) {
			case plan.Veth:
				is = plan.Veth{}
			case plan.MACVLAN:
				is = plan.MACVLAN{Mode: d.Mode}
			case plan.IPVLAN:
				is = plan.IPVLAN{Mode: d.Mode}
			}
			add(fmt.Sprintf("%s: link %s %s %+v, mtu %d, down %v, port %+v", o.Namespace, o.Name, is.Type(), is, o.MTU, o.Down, o.Port))
		case plan.Address, plan.Route:
			for _, line := range o.Add() {
				add(line)
			}
		}
	})
	slices.Sort(lines)
	return lines
}

// TestModesAreThePlugins: what our modes make is what the real plugin makes, link by link, address by address and route by route.
func TestModesAreThePlugins(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct {
		name, mode, settings string
		plain                bool
	}{
		// As flannel's plugin writes it for its delegate.
		{"bridge", "host-gw", conflist("", `{ type = "bridge", hairpinMode = true, isDefaultGateway = true, mtu = node.mtu, ipam = { type = "host-local", ranges = [[{ subnet = node.pod_cidr }]], routes = [{ dst = "10.42.0.0/16" }] } }`), false},
		{"macvlan", "macvlan", real[2].settings, true},
		{"ipvlan", "ipvlan", real[3].settings, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := parse(t, "plugged.hcl", cniLab(tt.settings))
			ours := planned(t, l, "oracle", tt.mode)
			up(t, ours)
			want := shapes(t, ours, tt.plain)
			removed(t, ours)
			theirs := planned(t, l, "oracle", "")
			up(t, theirs)
			if diff := cmp.Diff(want, shapes(t, theirs, tt.plain)); diff != "" {
				t.Errorf("ours (-) and the plugin's (+):\n%s", diff)
			}
		})
	}
}
