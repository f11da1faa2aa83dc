package suite

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab"
	"labnet/lab/kubeproxy"
	"labnet/lab/plan"
	"labnet/testbed"
)

// answer is what an endpoint of a service says to each that asks: who it is, and where the question came from.
type answer struct {
	pod    string
	source netip.Addr
}

// dial connects from a namespace.
func dial(t *testing.T, from *testbed.Place, network, to string, wait time.Duration) (c net.Conn, err error) {
	t.Helper()
	return c, from.Do(func() (err error) { c, err = net.DialTimeout(network, to, wait); return err })
}

const patience = time.Minute

// said asks a responder once more on a connection.
func said(t *testing.T, c net.Conn) answer {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	text, err := question(c)
	pod, source, _ := strings.Cut(strings.TrimSpace(text), " ")
	at, parsed := netip.ParseAddr(source)
	if err := errors.Join(err, parsed); err != nil {
		t.Fatalf("no answer from %s: %v", c.RemoteAddr(), err)
	}
	return answer{pod, at}
}

func question(c net.Conn) (string, error) {
	if c.RemoteAddr().Network() == "udp" {
		b := make([]byte, 100)
		if _, err := c.Write([]byte("?")); err != nil {
			return "", err
		}
		n, err := c.Read(b)
		return string(b[:n]), err
	}
	request, err := http.NewRequest(http.MethodGet, "http://"+c.RemoteAddr().String(), nil)
	if err != nil {
		return "", err
	}
	if err := request.Write(c); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func ask(t *testing.T, from *testbed.Place, network, to string) answer {
	t.Helper()
	c, err := dial(t, from, network, to, patience)
	if err != nil {
		t.Fatalf("%s does not reach %s: %v", from.Name, to, err)
	}
	defer c.Close()
	return said(t, c)
}

// proxied runs a test of the lab "services" for each proxy that this kernel has.
func proxied(t *testing.T, name string, test func(t *testing.T, l *lab.Lab, proxy string)) {
	for _, proxy := range lab.Proxies {
		t.Run(name+" "+proxy, func(t *testing.T) {
			l := load(t, "services")
			l.Services.Proxy = proxy
			test(t, l, proxy)
		})
	}
}

// damages are what somebody may do to a proxy's tables, each of which "up" mends with one line.
var damages = map[string][]string{
	"nftables": {
		"nft delete element ip kube-proxy service-ips '{ 10.43.6.58 . tcp . 80 }'",
		"nft add element ip kube-proxy cluster-ips '{ 10.43.7.7 }'",
		"nft flush chain ip kube-proxy reject-chain",
		"nft add rule ip kube-proxy services counter drop",
	},
	"iptables": {
		"iptables -t nat -D KUBE-SERVICES 1",
		"iptables -t nat -I KUBE-SERVICES 2 -d 10.43.7.7 -j RETURN",
		"iptables -t nat -F KUBE-MARK-MASQ",
		"iptables -t nat -R KUBE-SERVICES 2 -d 10.43.7.7 -m comment --comment other -j RETURN",
		"iptables -A FORWARD -j DROP",
	},
	"ipvs": {
		"iptables -t nat -D KUBE-SERVICES 2",
		"iptables -t nat -I KUBE-SERVICES 2 -m set --match-set KUBE-CLUSTER-IP src,dst -j RETURN",
		"ipset del KUBE-CLUSTER-IP 10.43.6.58,tcp:80",
		"ipset add KUBE-NODE-PORT-TCP 31000",
		"ipset create somebodys hash:net",
		"ip link set kube-ipvs0 up",
		"ip address del 10.43.6.58/32 dev kube-ipvs0",
		"ip address add 10.43.7.7/32 dev kube-ipvs0",
		"sysctl -qw net.ipv4.vs.conntrack=0",
	},
}

// TestServices: pods on a bridge and routed ones reach services from everywhere, as kube-proxy would let them. What an endpoint
// sees as the source is the client, where that is a pod and asks for a cluster IP, and else a node.
func TestServices(t *testing.T) {
	for _, mode := range []string{"vxlan", "bgp"} {
		proxied(t, mode, func(t *testing.T, l *lab.Lab, proxy string) {
			p := planned(t, l, "svc", mode)
			up(t, p)
			pods := map[string]*plan.Pod{}
			podAddresses := map[netip.Addr]bool{}
			for _, n := range p.Cluster.Nodes {
				for _, pod := range n.Pods {
					pods[pod.Title()] = pod
					podAddresses[pod.Address(false)] = true
				}
			}
			for _, from := range p.Cluster.Everyone() {
				if from.Also || from.Title == "gw" {
					continue
				}
				client := place(t, from.Namespace)
				for _, to := range []string{"10.43.6.58:80", "192.168.205.3:32506", "192.168.205.4:32506"} {
					answered := map[string]bool{}
					for range 64 {
						a := ask(t, client, "tcp4", to)
						answered[a.pod] = true
						itself := from.Title == a.pod
						kept := from.Pod != nil && !itself && strings.HasPrefix(to, "10.43.")
						if kept && a.source != from.Address || !kept && podAddresses[a.source] || from.Title == "laptop" && a.source == from.Address {
							t.Fatalf("%s asks %s, and %s sees %s", from.Title, to, a.pod, a.source)
						}
					}
					if !answered["master/p1"] || !answered["worker/p1"] || len(answered) != 2 {
						t.Errorf("%s asks %s, and of the endpoints there answer %v", from.Title, to, answered)
					}
				}
				if a := ask(t, client, "udp4", "10.43.0.10:53"); a.pod != "worker/p2" {
					t.Errorf("%s asks for dns, and %s answers", from.Title, a.pod)
				}
			}
			client := place(t, pods["master/p2"].Namespace)
			// "nobody" has no endpoints, and 81 is no port of "web".
			nobody := p.Cluster.Names()["nobody"][0].String()
			refused := []string{nobody + ":80"}
			if proxy == "nftables" { // to iptables these are addresses like any other, and go to the default gateway
				refused = append(refused, "10.43.6.58:81")
			}
			for _, to := range refused {
				if _, err := dial(t, client, "tcp4", to, patience); !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s is not refused: %v", to, err)
				}
			}
			var lost net.Error
			if _, err := dial(t, client, "tcp4", "10.43.99.99:80", time.Second/4); !errors.As(err, &lost) || !lost.Timeout() {
				t.Errorf("an address of no service is not lost: %v", err)
			}
			balanced(t, client)
			servicesAreRepaired(t, p, client, damages[proxy])
		})
	}
}

// balanced: 1,000 connections are spread over two endpoints by lot. By luck it fails once in a million times.
func balanced(t *testing.T, client *testbed.Place) {
	t.Helper()
	const n, critical = 1000, 23.93 // χ² of one degree of freedom at 10⁻⁶
	count := map[string]float64{}
	for range n {
		count[ask(t, client, "tcp4", "10.43.6.58:80").pod]++
	}
	chi := 0.0
	for _, pod := range []string{"master/p1", "worker/p1"} {
		chi += (count[pod] - n/2) * (count[pod] - n/2) / (n / 2)
	}
	if chi > critical {
		t.Errorf("connections are spread as %v, χ² is %.1f", count, chi)
	}
}

// servicesAreRepaired: what somebody takes away, adds or writes otherwise is one line each, and connections live on, while
// everything else stays as it is.
func servicesAreRepaired(t *testing.T, p *plan.Plan, client *testbed.Place, damages []string) {
	t.Helper()
	c, err := dial(t, client, "tcp4", "10.43.6.58:80", patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := said(t, c)
	for _, damage := range damages {
		sh(t, p, "ip netns exec %s.master "+damage)
		changes := pending(t, p)
		if len(changes) != 1 || len(changes[0].Lines()) != 1 {
			t.Errorf("after %q up would make %d changes: %v", damage, len(changes), changes)
		}
		up(t, p)
	}
	if after := said(t, c); after != before {
		t.Errorf("a connection went to %v, and goes to %v", before, after)
	}
	ask(t, client, "tcp4", "10.43.6.58:80")
}

// TestEndpointGoes: with one endpoint less only what names it is changed.
func TestEndpointGoes(t *testing.T) {
	want := map[string]struct {
		lines int
		of    []string // what each line names
	}{
		"nftables": {3, []string{"/web/tcp/http", "10.42.1.9 . 10.42.1.9"}}, // a rule on each node, and an element on one
		// On each node its chain, the rule that leads to it, and the one before, which now always matches.
		// On each node of each virtual server, and on one node its way back to itself.
		"ipvs":     {9, []string{"ipvsadm -d -t", "ipset del KUBE-LOOP-BACK 10.42.1.9,tcp:8080,10.42.1.9"}},
		"iptables": {6, []string{"-> 10.42.0.65:8080", "delete rule ip nat KUBE-SVC-", "delete chain ip nat KUBE-SEP-"}},
	}
	proxied(t, "vxlan", func(t *testing.T, l *lab.Lab, proxy string) {
		p := planned(t, l, "svcless", "vxlan")
		up(t, p)
		web := l.Services.All[0]
		web.Endpoints = slices.Clone(web.Endpoints[:1])
		less := built(t, l, "svcless", "vxlan")
		var lines []string
		for _, c := range pending(t, less) {
			lines = append(lines, c.Lines()...)
		}
		if len(lines) != want[proxy].lines {
			t.Errorf("up would write %d lines, not %d:\n%s", len(lines), want[proxy].lines, strings.Join(lines, "\n"))
		}
		for _, line := range lines {
			if !slices.ContainsFunc(want[proxy].of, func(name string) bool { return strings.Contains(line, name) }) {
				t.Errorf("this is not the endpoint's: %s", line)
			}
		}
		up(t, less)
	})
}

// TestProxyIsChanged: on a running lab one proxy takes the place of another; pods, their connections and everything that is
// no service's stay, and new connections are translated by the other.
func TestProxyIsChanged(t *testing.T) {
	l := load(t, "services")
	proxy := func(name string) *plan.Plan {
		l.Services.Proxy = name
		return built(t, l, "svcproxy", "vxlan")
	}
	p := proxy("nftables")
	turns := []*plan.Plan{proxy("iptables"), p, proxy("iptables")}
	if needRoot(t)[plan.FeatureIPVS] {
		turns = append(turns, proxy("ipvs"), p, proxy("ipvs"), turns[0])
	}
	t.Cleanup(func() { removed(t, p) })
	up(t, p)
	var client *testbed.Place
	for _, n := range p.Cluster.Nodes {
		for _, pod := range n.Pods {
			client = place(t, pod.Namespace)
		}
	}
	c, err := dial(t, client, "tcp4", "10.42.0.65:8080", patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := said(t, c)
	for _, next := range turns {
		for _, change := range pending(t, next) {
			own := strings.Contains(change.Object.Key().Name, kubeproxy.IPVSDevice)
			switch change.Object.(type) {
			case plan.Sysctl, plan.IPSet, plan.IPSetEntry, plan.VirtualServer, plan.RealServer:
				own = true
			}
			if !plan.InFirewall(change.Object) && !own {
				t.Errorf("the proxy is changed, and up would %s %s", change.Op, change.Object.Key())
			}
		}
		up(t, next)
		ask(t, client, "tcp4", "10.43.6.58:80")
		ask(t, client, "tcp4", "192.168.205.4:32506")
		if after := said(t, c); after != before {
			t.Errorf("a connection of pods went to %v, and goes to %v", before, after)
		}
	}
}
