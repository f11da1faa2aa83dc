package suite

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"labnet/lab/plan"
)

const impaired = `
lab "impaired" {}
switch "wan" {
  subnet = "192.0.2.0/24"
  %s
}
node "n" {
  count = 2
  on "wan" {}
  pods = 1
}
network "pods" { cidr = "10.43.0.0/16" }
`

// TestSwitchImpairs holds what a switch is to do to packets against what ping sees, while one lab changes from one
// impairment to the next. Every packet crosses the switch twice: there and back. The bounds leave room for a slow machine,
// and for chance several standard deviations.
func TestSwitchImpairs(t *testing.T) {
	needNetem(t)
	// Neighbours learn of each other while nothing is lost, and do not ask again: that is not what is measured.
	calm := impairedLab(t, `rate = "1gbit"`)
	up(t, calm)
	sh(t, calm, "for n in n1 n2; do ip netns exec %s.$n sysctl -qw net.ipv4.neigh.eth0.base_reachable_time_ms=3600000; done")
	healthy(t, calm)
	for _, tt := range []struct {
		name, attributes, ping string
		quickest               [2]float64 // ms: the shortest round trip lies between these
		spread                 float64    // ms: the longest is at least so much longer
		lost                   [2]float64 // per cent
	}{
		{"rate", `rate = "1gbit"`, "-c 3 -i 0.1", [2]float64{0, 20}, 0, [2]float64{0, 0}},
		{"delay", `delay = "50ms"`, "-c 10 -i 0.1", [2]float64{100, 130}, 0, [2]float64{0, 0}},
		{"jitter", "delay = \"50ms\"\njitter = \"20ms\"", "-c 40 -i 0.05", [2]float64{60, 95}, 20, [2]float64{0, 0}},
		{"loss", `loss = "20%"`, "-c 200 -i 0.01", [2]float64{0, 20}, 0, [2]float64{15, 57}},
		{"rate and delay", "rate = \"100kbit\"\ndelay = \"10ms\"", "-c 5 -i 0.5 -s 1400", [2]float64{250, 400}, 0, [2]float64{0, 0}}, // 1442 bytes take 115 ms
		{"everything", everything, "-c 200 -i 0.01", [2]float64{30, 60}, 2, [2]float64{3, 40}},
	} {
		p := impairedLab(t, tt.attributes)
		t.Run(tt.name, func(t *testing.T) {
			up(t, p)
			healthy(t, p)
			ping := "ip netns exec %s.n1.p1 ping -n -q "
			to := " " + p.Cluster.Nodes[1].Pods[0].Addresses()[0].Addr().String()
			rtt, lost := pinged(t, sh(t, p, ping+tt.ping+to))
			if quickest := rtt[0]; quickest < tt.quickest[0] || quickest > tt.quickest[1] {
				t.Errorf("the quickest answer took %g ms, not %g to %g", quickest, tt.quickest[0], tt.quickest[1])
			}
			if rtt[1]-rtt[0] < tt.spread {
				t.Errorf("answers took %g to %g ms, which do not lie %g apart", rtt[0], rtt[1], tt.spread)
			}
			if lost < tt.lost[0] || lost > tt.lost[1] {
				t.Errorf("%g %% were lost, not %g to %g", lost, tt.lost[0], tt.lost[1])
			}
		})
	}
}

// TestImpairmentIsRepaired: the qdisc of a port is damaged, and up mends it alone; what the plan prints makes the same.
func TestImpairmentIsRepaired(t *testing.T) {
	needNetem(t)
	p := impairedLab(t, everything)
	up(t, p)
	uplink := plan.Key{Namespace: p.Cluster.Name + ".n1", Kind: plan.KindQdisc, Name: "eth0"}
	for _, damage := range []string{
		"change dev eth0 root handle 1: netem delay 1ms",
		"change dev eth0 root handle 1: netem delay 20ms 5ms loss 10% duplicate 10%",
		"change dev eth0 root handle 1: netem delay 20ms 5ms loss 10% rate 1mbit",
		"replace dev eth0 root handle 7: pfifo limit 9",
		"del dev eth0 root",
	} {
		t.Run(damage, func(t *testing.T) {
			sh(t, p, "tc -n %s.n1 qdisc "+damage)
			changes := pending(t, p)
			if len(changes) == 0 {
				t.Fatal("nobody noticed")
			}
			for _, c := range changes {
				if c.Object.Key() != uplink {
					t.Errorf("%s would be changed", c.Object.Key())
				}
			}
			up(t, p)
		})
	}
	sh(t, p, "tc -n %s.n1 qdisc del dev eth0 root")
	for _, c := range pending(t, p) {
		sh(t, p, strings.Join(c.Lines(), "\n"))
	}
	settled(t, p)
}

const everything = "rate = \"10mbit\"\ndelay = \"20ms\"\njitter = \"5ms\"\nloss = \"10%\""

func needNetem(t *testing.T) {
	t.Helper()
	if !needRoot(t)[plan.FeatureNetem] {
		t.Skip("the kernel has no netem; make test-vm runs this on one that has")
	}
}

func impairedLab(t *testing.T, attributes string) *plan.Plan {
	t.Helper()
	return planned(t, parse(t, "impaired.hcl", fmt.Sprintf(impaired, attributes)), "impaired", "host-gw")
}

var (
	pingTimes = regexp.MustCompile(`= ([0-9.]+)/[0-9.]+/([0-9.]+)/`)
	pingLoss  = regexp.MustCompile(`([0-9.]+)% packet loss`)
)

// pinged returns the shortest and the longest round trip in milliseconds, and how many per cent were lost.
func pinged(t *testing.T, out string) (rtt [2]float64, lost float64) {
	t.Helper()
	times, loss := pingTimes.FindStringSubmatch(out), pingLoss.FindStringSubmatch(out)
	if times == nil || loss == nil {
		t.Fatalf("ping said nothing of times and losses:\n%s", out)
	}
	for i := range rtt {
		rtt[i], _ = strconv.ParseFloat(times[i+1], 64)
	}
	lost, _ = strconv.ParseFloat(loss[1], 64)
	return rtt, lost
}
