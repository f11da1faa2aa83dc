package check

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	ansi "github.com/jedib0t/go-pretty/v6/text"

	"labnet/lab/plan"
)

// cluster makes the endpoints of a cluster, once for each family.
func cluster(nodes, pods, families int) []plan.Endpoint {
	var all []plan.Endpoint
	machines := make([]plan.Node, nodes)
	for f := range families {
		address := netip.MustParseAddr([]string{"10.0.0.1", "fd00::1"}[f])
		for i := range machines {
			node := &machines[i]
			node.Index = i
			all = append(all, plan.Endpoint{Title: fmt.Sprintf("node%d", i+1), Namespace: fmt.Sprint(i), Node: node, Address: address})
			for j := range pods {
				all = append(all, plan.Endpoint{Title: fmt.Sprintf("node%d/p%d", i+1, j+1), Namespace: fmt.Sprint(i, ".", j), Node: node, Pod: &plan.Pod{Node: node, Index: j}, Address: address})
			}
		}
	}
	return all
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct{ nodes, pods, families, limit, pairs, total int }{
		{0, 0, 1, 400, 0, 0},
		{1, 1, 1, 400, 2, 2},
		{3, 0, 1, 400, 6, 6},
		{3, 2, 1, 400, 72, 72},
		{3, 2, 2, 400, 144, 144},
		{30, 2, 1, 400, 400, 8010},
		{30, 2, 2, 400, 400, 16020},
		{30, 2, 1, 5, 5, 8010},
		{1000, 20, 1, 400, 400, 440979000},
	} {
		t.Run(fmt.Sprintf("%dx%dx%d", tt.nodes, tt.pods, tt.families), func(t *testing.T) {
			ends := cluster(tt.nodes, tt.pods, tt.families)
			pairs, total := choose(ends, tt.limit)
			if len(pairs) != tt.pairs || total != tt.total {
				t.Errorf("%d of %d pairs, want %d of %d", len(pairs), total, tt.pairs, tt.total)
			}
			again, _ := choose(ends, tt.limit)
			if !slices.Equal(pairs, again) {
				t.Error("another sample the second time")
			}
			seen := map[pair]bool{}
			for _, p := range pairs {
				from, to := ends[p.from], ends[p.to]
				if seen[p] || p.from == p.to || from.Address != to.Address {
					t.Errorf("%s → %s", from.Title, to.Title)
				}
				seen[p] = true
			}
		})
	}
}

// TestSampleCovers: every node sends and receives, over the underlay and within, in each family.
func TestSampleCovers(t *testing.T) {
	ends := cluster(30, 4, 2)
	pairs, _ := choose(ends, 400)
	covered := map[string]bool{}
	for _, p := range pairs {
		from, to := ends[p.from], ends[p.to]
		where := "across"
		if from.Node == to.Node {
			where = "within"
		}
		for _, s := range []string{fmt.Sprintf("%d sends %s", from.Node.Index, where), fmt.Sprintf("%d receives %s", to.Node.Index, where)} {
			covered[fmt.Sprintf("%s, IPv6 %t", s, to.Address.Is6())] = true
		}
	}
	if len(covered) != 30*2*2*2 {
		t.Errorf("%d of %d covered", len(covered), 30*2*2*2)
	}
}

// columns is what is rendered where no terminal says otherwise.
const columns = 100

func example() *Report {
	return &Report{
		Schema: 1, Lab: "three-node", Mode: "vxlan", Pairs: 400, TotalPairs: 7140, Sampled: true, Seconds: 1.25,
		Checks: []Check{
			{Name: Reach, From: "node1/p1", To: "node2/p1", Family: "ipv4", OK: true, Expected: "10.42.1.2 answers", Seen: "an answer after 0.2 ms"},
			{Name: Reach, From: "node1/p1", To: "node2/p2", Family: "ipv4", Expected: "10.42.1.3 answers", Seen: "nothing within 1s",
				Detail: "no vxlan frame of it left node1 eth0; look at `ip -n three-node.node1.p1 route get 10.42.1.3`, then for the tunnel at `bridge -n three-node.node1 fdb show`"},
		},
	}
}

func TestText(t *testing.T) {
	want := ` ✗ reach         1/2  packets and answers arrive

 ✗ reach: node1/p1 → node2/p2
   expected  10.42.1.3 answers
   seen      nothing within 1s
   detail    no vxlan frame of it left node1 eth0; look at
             ` + "`ip -n three-node.node1.p1 route get 10.42.1.3`" + `, then for the tunnel at
             ` + "`bridge -n three-node.node1 fdb show`" + `

Lab three-node in mode vxlan does not do what it promises.
Tried a sample of 400 of its 7140 pairs in 1.2 s; --pairs tries more.
`
	got := text(example())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	var coloured strings.Builder
	example().Text(&coloured, columns, true)
	if !strings.Contains(coloured.String(), "\x1b[31m✗\x1b[0m") {
		t.Errorf("no colour: %q", coloured.String())
	}
	if got := text(&Report{Lab: "empty", OK: true}); !strings.Contains(got, "nothing to check") {
		t.Error(got)
	}
}

// TestCulpritsFold: what has one cause is told once, with some of the pairs, and what has none in full.
func TestCulpritsFold(t *testing.T) {
	r := &Report{Lab: "l", Mode: "vxlan", Pairs: 12, TotalPairs: 12}
	down := Culprit{Machine: "lan", Device: "n2", Reason: "n2 of lan is down", Command: "ip -n l.lan link show dev n2", Pairs: 5}
	for i := range 5 {
		r.Checks = append(r.Checks, Check{Name: Reach, From: "n1", To: fmt.Sprintf("n2/p%d", i), Family: "ipv4", Expected: "it answers", Seen: "nothing"})
		down.checks = append(down.checks, i)
	}
	r.Checks = append(r.Checks, Check{Name: Reach, From: "n3", To: "n4", Family: "ipv4", Expected: "it answers", Seen: "nothing", Detail: "nobody knows why"})
	r.Culprits = []Culprit{down}
	want := ` ✗ reach         0/6  packets and answers arrive

 ✗ lan n2: n2 of lan is down
   look      ` + "`ip -n l.lan link show dev n2`" + `
   suffer    reach: n1 → n2/p0
             reach: n1 → n2/p1
             reach: n1 → n2/p2
             and 2 more pairs (-v names all)

 ✗ reach: n3 → n4
   expected  it answers
   seen      nothing
   detail    nobody knows why

Lab l in mode vxlan does not do what it promises.
Tried all its 12 pairs in 0.0 s.
`
	if diff := cmp.Diff(want, text(r)); diff != "" {
		t.Error(diff)
	}
	var all strings.Builder
	r.Failures(&all, columns, false)
	if n := strings.Count(all.String(), "expected"); n != 6 {
		t.Errorf("%d of 6 failures:\n%s", n, all.String())
	}
}

// TestTextFits: whatever the names and addresses are. Only a command stays whole, to be copied.
func TestTextFits(t *testing.T) {
	long := strings.Repeat("n", 63)
	r := example()
	r.Lab, r.Mode, r.Sampled = long, long, true
	for _, family := range []string{"ipv4", "ipv6"} {
		for _, name := range Names {
			r.Checks = append(r.Checks, Check{Name: name, From: long + "/p1000", To: long + "/p1001", Family: family,
				Expected: "fd00:1111:2222:3333:4444:5555:6666:7777 answers " + strings.Repeat("word ", 40), Seen: "nothing", Detail: "look at `" + strings.Repeat("ip ", 60) + "`"})
		}
	}
	for _, columns := range []int{80, 100, 132} {
		for _, color := range []bool{false, true} {
			var b strings.Builder
			r.Text(&b, columns, color)
			for line := range strings.Lines(b.String()) {
				if n := ansi.StringWidthWithoutEscSequences(strings.TrimSuffix(line, "\n")); n > columns && !strings.Contains(line, "`") {
					t.Errorf("%d columns, not %d: %s", n, columns, line)
				}
			}
			var full strings.Builder
			r.Failures(&full, columns, color)
			if n := strings.Count(full.String(), long+"/p1000"); n != 2*len(Names) {
				t.Errorf("%d failures are named in full, of %d", n, 2*len(Names))
			}
			if n := strings.Count(b.String(), long+"/p1000"); n != folded-1 || !strings.Contains(b.String(), fmt.Sprintf("and %d more failures", 2*len(Names)-2)) {
				t.Errorf("%d failures are named beside the one of before:\n%s", n, b.String())
			}
		}
	}
}

// TestJSON: the fields are a contract.
func TestJSON(t *testing.T) {
	r := example()
	r.Checks = r.Checks[:1]
	r.Culprits = []Culprit{{Machine: "lan", Device: "node2", Reason: "node2 of lan is down", Command: "ip -n three-node.lan link show dev node2", Pairs: 12}}
	r.Untried = 1
	r.NotConnected = []Apart{{From: "laptop", To: "node1/p1", Family: "ipv4", Reason: "gw has no route to 10.42.0.2"}}
	r.Routes = []plan.BadRoute{{Machine: "gw", Route: "10.42.0.0/16 via 192.168.205.9", Problem: "nobody has it"}}
	r.Model = []plan.Ruling{{Demand: plan.Demands[1].Name, State: plan.Broken, Reason: "node1 does not reach node1/p1"}}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":1,"lab":"three-node","mode":"vxlan","ok":false,"pairs":400,"total_pairs":7140,"sampled":true,"seconds":1.25,` +
		`"checks":[{"name":"reach","from":"node1/p1","to":"node2/p1","family":"ipv4","ok":true,"expected":"10.42.1.2 answers","seen":"an answer after 0.2 ms","detail":""}],` +
		`"culprits":[{"machine":"lan","device":"node2","reason":"node2 of lan is down","command":"ip -n three-node.lan link show dev node2","pairs":12}],` +
		`"promises":0,"total_promises":0,"services":0,"total_services":0,"untried":1,"not_connected":[{"from":"laptop","to":"node1/p1","family":"ipv4","reason":"gw has no route to 10.42.0.2","tried":false}],` +
		`"routes":[{"machine":"gw","route":"10.42.0.0/16 via 192.168.205.9","problem":"nobody has it"}],` +
		`"model":[{"demand":"a node reaches its own pods","state":"broken by design","reason":"node1 does not reach node1/p1"}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestSilence: what is not to come is waited for three times as long as the slowest answer took, and never longer than an answer.
func TestSilence(t *testing.T) {
	p := &patience{quiet: 250 * time.Millisecond, answer: 2 * time.Second}
	for _, tt := range []struct{ took, silence time.Duration }{
		{0, 250 * time.Millisecond}, {10 * time.Millisecond, 250 * time.Millisecond}, {200 * time.Millisecond, 600 * time.Millisecond},
		{100 * time.Millisecond, 600 * time.Millisecond}, {time.Second, 2 * time.Second},
	} {
		if p.heard(tt.took); p.silence() != tt.silence {
			t.Errorf("after an answer within %s: %s, not %s", tt.took, p.silence(), tt.silence)
		}
	}
}
