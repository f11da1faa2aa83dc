package modes

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/report"
)

const page = "../docs/modes.md"

// systems are the modes and their variants, in the order in which the table shows them.
var systems = []struct {
	name, settings string
	vlan           bool // the pods are in a VLAN of the switch
}{
	{name: "host-gw"},
	{name: "vxlan"},
	{name: "vxlan", settings: "direct = true"},
	{name: "vxlan", settings: `like = "calico"`},
	{name: "vxlan", settings: `like = "hybridnet"`},
	{name: "ipip"},
	{name: "ipip", settings: "direct = true"},
	{name: "ipip", settings: `like = "calico"`},
	{name: "udp"},
	{name: "bgp"},
	{name: "bgp", settings: `like = "bridge"`},
	{name: "bgp", settings: `like = "hybridnet"`},
	{name: "macvlan"},
	{name: "macvlan", settings: "vlan = 20", vlan: true},
	{name: "macvlan", settings: "service_veth = true"},
	{name: "vlan", vlan: true},
	{name: "ipvlan"},
	{name: "ipvlan", settings: `like = "l3"`},
}

// cluster is a lab for the table.
func cluster(t *testing.T, mode, settings string, nodes, pods int, vlan, apart, v6 bool) *lab.Lab {
	t.Helper()
	subnet, cidr := `"192.168.205.0/24"`, `"10.42.0.0/16"`
	if v6 {
		subnet, cidr = `["192.168.205.0/24", "fd00:205::/64"]`, `["10.42.0.0/16", "fd00:42::/48"]`
	}
	var b strings.Builder
	fmt.Fprintf(&b, "lab \"table\" {}\nswitch \"lan\" {\n  subnet = %s\n", subnet)
	on, port := "", ""
	if vlan {
		cidr = `"10.20.0.0/24"`
		if v6 {
			cidr = `["10.20.0.0/24", "fd00:20::/64"]`
		}
		fmt.Fprintf(&b, "  vlan \"20\" {\n    subnet = %s\n  }\n", cidr)
		on, port = "trunk = [20]", "  on \"lan\" {\n    vlan    = 20\n    address = \"10.20.0.1\"\n  }\n"
	}
	fmt.Fprintf(&b, "}\nrouter \"gw\" {\n  on \"lan\" { address = \"192.168.205.1\" }\n%s", port)
	if apart {
		fmt.Fprint(&b, "  on \"far\" { address = \"192.168.206.1\" }\n")
	}
	fmt.Fprintf(&b, "}\nnode \"node\" {\n  count = %d\n  on \"lan\" {\n    %s\n  }\n  gateway = \"192.168.205.1\"\n  pods = %d\n}\n", nodes, on, pods)
	if apart {
		fmt.Fprint(&b, "switch \"far\" { subnet = \"192.168.206.0/24\" }\nnode \"far1\" {\n  on \"far\" {}\n  gateway = \"192.168.206.1\"\n  pods = 1\n}\n")
	}
	fmt.Fprintf(&b, "network \"pods\" {\n  cidr = %s\n  mode = %q\n}\nmode %q {\n%s\n}\n", cidr, mode, mode, settings)
	l, _, diags := lab.Load("table.hcl", []byte(b.String()), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, b.String())
	}
	return l
}

func build(l *lab.Lab, f plan.Features) *plan.Plan {
	p, _ := plan.Build(l, plan.Options{Modes: All, Features: f})
	return p
}

// endpoint finds node1 or node1/p1.
func endpoint(p *plan.Plan, title string) plan.Endpoint {
	all := p.Cluster.Endpoints()
	return all[slices.IndexFunc(all, func(e plan.Endpoint) bool { return e.Title == title })]
}

// counts of the objects of a node's namespace.
func counts(p *plan.Plan) map[string]int {
	n := map[string]int{}
	p.State.Each(func(o plan.Object) {
		if k := o.Key(); k.Namespace == p.Cluster.Nodes[0].Namespace {
			n[k.Kind.String()]++
		}
	})
	return n
}

func growth(before, after map[string]int) string {
	var words []string
	for _, kind := range []string{"route", "neighbour", "FDB entry"} {
		if d := after[kind] - before[kind]; d > 0 {
			words = append(words, fmt.Sprintf("%d %s", d, strings.Replace(kind, "FDB entry", "FDB", 1)))
		}
	}
	return cmp.Or(strings.Join(words, ", "), "–")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// TestTableOfModes computes the table by which people choose, and holds it against the page.
func TestTableOfModes(t *testing.T) {
	lines := []string{
		"| mode | on the wire | extra bytes | pods' MTU of 1500 | nodes behind routers | IPv6 | node to its own pod, to another's | another node sees of a pod | one more node costs each node | datapath |",
		"|---|---|---|---|---|---|---|---|---|---|",
	}
	for _, s := range systems {
		p := build(cluster(t, s.name, s.settings, 3, 2, s.vlan, false, false), plan.AllFeatures())
		if p == nil {
			t.Errorf("%s { %s } cannot be planned", s.name, s.settings)
			continue
		}
		e := p.Expect(plan.Flow{From: endpoint(p, "node1/p1"), To: endpoint(p, "node2/p1")})
		wire, more := cmp.Or(e.Encap.Type, "the pods' packets"), e.Encap.Overhead
		switch e.Encap.Type {
		case "vlan":
			wire, more = "802.1Q", 4
		case "udp":
			wire = "IP in UDP"
		}
		own := p.Expect(plan.Flow{From: endpoint(p, "node1"), To: endpoint(p, "node1/p1")})
		other := p.Expect(plan.Flow{From: endpoint(p, "node1"), To: endpoint(p, "node2/p1")})
		out := p.Expect(plan.Flow{From: endpoint(p, "node1/p1"), To: endpoint(p, "node2")})
		seen := "nothing"
		switch {
		case out.Reachable && out.Source == endpoint(p, "node1/p1").Address:
			seen = "its own address"
		case out.Reachable:
			seen = "its node's address"
		}
		larger := build(cluster(t, s.name, s.settings, 4, 2, s.vlan, false, false), plan.AllFeatures())
		cost := growth(counts(p), counts(larger))
		agents := 0
		p.State.Each(func(o plan.Object) {
			if _, ok := o.(plan.Agent); ok {
				agents++
			}
		})
		datapath := string(p.State.Datapaths()[p.Cluster.Nodes[0].Namespace])
		if emulated := build(cluster(t, s.name, s.settings, 3, 2, s.vlan, false, false), bare()); emulated != nil {
			if d := string(emulated.State.Datapaths()[p.Cluster.Nodes[0].Namespace]); d != datapath {
				datapath += " or " + d
			}
		}
		if agents > 0 && datapath == "kernel" {
			datapath += ", and a speaker"
			if cost == "–" && s.settings != `like = "hybridnet"` {
				cost = "1 route, learnt"
			}
		}
		apart := !s.vlan && build(cluster(t, s.name, s.settings, 2, 1, s.vlan, true, false), plan.AllFeatures()) != nil
		title := "`" + s.name + "`"
		if s.settings != "" {
			title += ", `" + s.settings + "`"
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %d | %d | %s | %s | %s, %s | %s | %s | %s |", title, wire, more, e.MTU, yes(apart),
			yes(build(cluster(t, s.name, s.settings, 2, 1, s.vlan, false, true), plan.AllFeatures()) != nil),
			yes(own.Reachable), yes(other.Reachable), seen, cost, datapath))
	}
	text := hold(t, "the table is computed", lines)
	for _, name := range All.Names() {
		if !strings.Contains(text, "## "+name+"\n") {
			t.Errorf("%s has no section about %s", page, name)
		}
	}
}

// TestTableOfPods computes what a mode makes of pods, and holds it against the page.
func TestTableOfPods(t *testing.T) {
	lines := []string{"| mode | a pod's device | stack | pool of addresses | a pod may move with its address | way out | firewall of the node |", "|---|---|---|---|---|---|---|"}
	for _, s := range systems {
		p := build(cluster(t, s.name, s.settings, 3, 2, s.vlan, false, false), plan.AllFeatures())
		if p == nil {
			t.Fatalf("%s { %s } cannot be planned", s.name, s.settings)
		}
		pod := endpoint(p, "node1/p1")
		device, firewall := attached(t, p, pod.Namespace)
		stack := "IPv4"
		if build(cluster(t, s.name, s.settings, 2, 1, s.vlan, false, true), plan.AllFeatures()) != nil {
			stack = "IPv4, IPv6 or both"
		}
		pool, moves := "one range for all nodes", "yes"
		if a, b := p.Cluster.Nodes[0].PodCIDRs(), p.Cluster.Nodes[1].PodCIDRs(); len(a) > 0 && !slices.Equal(a, b) {
			pool, moves = "a block for each node", "no"
		}
		out := "its own address"
		p.State.Each(func(o plan.Object) {
			if o.Key().Namespace == p.Cluster.Nodes[0].Namespace && strings.Contains(strings.Join(plan.Change{Op: plan.Create, Object: o}.Lines(), " "), "masquerade") {
				out = "its node's address (SNAT)"
			}
		})
		title := "`" + s.name + "`"
		if s.settings != "" {
			title += ", `" + s.settings + "`"
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |", title, device, stack, pool, moves, out, firewall))
	}
	hold(t, "the pods are computed", lines)
}

// attached says by which device a pod is on the network, and which of its packets pass the hooks of its node's firewall, where
// policies are enforced.
func attached(t *testing.T, p *plan.Plan, namespace string) (device, firewall string) {
	t.Helper()
	link := func(ns, name string) plan.Link {
		l, ok := p.State.Get(plan.Key{Namespace: ns, Kind: plan.KindLink, Name: name}).(plan.Link)
		if !ok {
			t.Fatalf("%s has no %s", ns, name)
		}
		return l
	}
	l := link(namespace, "eth0")
	below := "`" + l.Below().Name + "`"
	switch d := l.Device.(type) {
	case plan.MACVLAN:
		if p.State.Get(plan.Key{Namespace: namespace, Kind: plan.KindLink, Name: "veth0"}) != nil {
			return "macvlan on " + below + ", and a veth for services", "what is for services, and for the node"
		}
		return "macvlan on " + below, "no packet"
	case plan.IPVLAN:
		if d.Mode == "l3s" {
			return "ipvlan " + d.Mode + " on " + below, "every packet"
		}
		return "ipvlan " + d.Mode + " on " + below, "no packet"
	}
	if bridge := link(l.Peer().Namespace, l.Peer().Name).Port.Bridge; bridge != "" {
		return "veth, a port of `" + bridge + "`", "what leaves the bridge; all with `bridge-nf-call-iptables`"
	}
	return "veth, routed", "every packet"
}

// TestTableOfDemands computes how the modes stand to the Kubernetes network model, and holds it against the page.
func TestTableOfDemands(t *testing.T) {
	head, line := "| mode |", "|---|"
	for _, d := range plan.Demands {
		head += " " + d.Name + " |"
		line += "---|"
	}
	lines := []string{head, line}
	for _, s := range systems {
		p := build(cluster(t, s.name, s.settings, 3, 2, s.vlan, false, false), plan.AllFeatures())
		if p == nil {
			t.Fatalf("%s { %s } cannot be planned", s.name, s.settings)
		}
		ends := p.Cluster.Everyone()
		rulings := p.Model(func(yield func(a, b plan.Endpoint) bool) {
			for _, from := range ends {
				for _, to := range ends {
					if from.Namespace != to.Namespace && !yield(from, to) {
						return
					}
				}
			}
		})
		if len(rulings) != len(plan.Demands) {
			t.Fatalf("%s: %d of %d demands are judged", s.name, len(rulings), len(plan.Demands))
		}
		row := "| `" + s.name + "`"
		if s.settings != "" {
			row += ", `" + s.settings + "`"
		}
		for _, r := range rulings {
			row += " | " + r.State
			if r.Reason != "" {
				row += ": " + r.Reason
			}
		}
		lines = append(lines, row+" |")
	}
	hold(t, "the demands are computed", lines)
}

// hold holds a table of the page, which a comment precedes, against what it has to be.
func hold(t *testing.T, comment string, lines []string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	from, to := "<!-- "+comment+": go test ./modes -update -->\n", "\n<!-- end of the table -->"
	head, rest, ok := strings.Cut(string(text), from)
	table, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table after %q", page, from)
	}
	want := strings.Join(lines, "\n")
	if table != want && *update {
		if err := os.WriteFile(page, []byte(head+from+want+to+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != want {
		t.Errorf("the table of %s is not what it has to be (go test ./modes -update writes it anew):\n%s", page, want)
	}
	return string(text)
}

// recorded is the folder of the comparison that the docs speak of.
const recorded = "../docs/recorded"

// TestTableOfNumbers holds the page's numbers against the recorded comparison.
func TestTableOfNumbers(t *testing.T) {
	r, err := report.Read(recorded)
	if err != nil {
		t.Fatal(err)
	}
	columns := []struct{ wire, measure, metric, params, head string }{
		{"bare", "path-cost", "round trip", "protocol=tcp request=512", "path cost, 512 bytes of TCP [µs]"},
		{"bare", "path-cost", "round trip", "protocol=tcp request=1400", "1,400 bytes [µs]"},
		{"bare", "path-cost", "round trip", "protocol=udp request=64", "64 bytes of UDP [µs]"},
		{"bare", "path-cost", "round trip", "protocol=tcp request=1 connect", "new connection [µs]"},
		{"nic", "tcp-rr", "p50", "request=1 response=1", "on two CPUs: round trip, p50 [µs]"},
		{"nic", "tcp-stream", "goodput", "streams=1", "one TCP stream [Gbit/s]"},
		{"nic", "tcp-stream", "cpu", "streams=1", "CPU [s/Gbit]"},
		{"nic", "build", "up", "", "to build [s]"},
		{"nic", "memory", "processes", "per=node", "processes, a node [MiB]"},
	}
	head, line := "| mode |", "|---|"
	for _, c := range columns {
		head += " " + c.head + " |"
		line += "---|"
	}
	lines := []string{head, line}
	for _, mode := range r.Modes {
		row := "| `" + mode + "` |"
		for _, c := range columns {
			i := slices.IndexFunc(r.Summary, func(s report.Summary) bool {
				return s.Mode == mode && s.Wire == c.wire && s.Measure == c.measure && s.Metric == c.metric && (s.Path == "cross-node" || s.Path == "-") &&
					(c.params == "" || s.Params == c.params)
			})
			if i < 0 {
				t.Fatalf("%s holds no %s %s of %s, wire model %s", recorded, c.measure, c.metric, mode, c.wire)
			}
			s := r.Summary[i]
			if s.Unit == "ns" {
				s.Median /= 1000
			}
			cell := fmt.Sprintf("%.3g", s.Median)
			if mode != r.Baseline && s.Ratio != nil && s.Median > 0 {
				if s.Differs() {
					cell += fmt.Sprintf(" (%.2f×)", *s.Ratio)
				} else {
					cell += " (~)"
				}
			}
			row += " " + cell + " |"
		}
		lines = append(lines, row)
	}
	hold(t, "the numbers are recorded", lines)
}

// TestLanguageExamples plans every example of the language's reference, in its own mode and in those that it has blocks for.
func TestLanguageExamples(t *testing.T) {
	text, err := os.ReadFile("../docs/language.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) < 8 {
		t.Fatalf("only %d examples are found", len(examples))
	}
	for _, e := range examples {
		src := e[1]
		if !strings.HasPrefix(src, "lab \"") {
			src = "lab \"example\" {}\n" + src
		}
		l, _, diags := lab.Load("example.hcl", []byte(src), lab.Inputs{})
		if len(diags) > 0 {
			t.Errorf("%v in\n%s", diags, src)
			continue
		}
		p, diags := plan.Validate(t.Context(), l, plan.Options{Modes: All, Features: plan.AllFeatures()})
		if len(diags) > 0 {
			t.Errorf("%v in\n%s", diags, src)
			continue
		}
		for _, r := range p.BadRoutes() {
			t.Errorf("%s: route %s: %s in\n%s", r.Machine, r.Route, r.Problem, src)
		}
	}
}
