package suite

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/faults"
	"labnet/lab/plan"
	"labnet/lab/trace"
	kernel "labnet/testbed/trace"
)

// traced follows a packet between two endpoints.
func traced(t testing.TB, p *plan.Plan, from, to plan.Endpoint, set ...func(*kernel.Options)) *trace.Trace {
	t.Helper()
	opt := kernel.Options{
		From: kernel.Target{Title: from.Title, Namespace: from.Namespace}, To: kernel.Target{Title: to.Title, Namespace: to.Namespace, Address: to.Address},
		Protocol: "icmp", Size: 100, Wait: 10 * time.Second,
	}
	for _, f := range set {
		f(&opt)
	}
	tr, err := kernel.Run(t.Context(), p, opt)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// endpoint finds an endpoint by its name.
func endpoint(t testing.TB, p *plan.Plan, title string, v6 bool) plan.Endpoint {
	t.Helper()
	for _, e := range p.Cluster.Everyone() {
		if e.Title == title && e.Address.Is6() == v6 {
			return e
		}
	}
	t.Fatalf("%s has no %s", p.Cluster.Name, title)
	return plan.Endpoint{}
}

// shown is a trace as people see it, for the log of a test.
func shown(tr *trace.Trace) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s → %s: %s. %s\n", tr.From, tr.To, strings.Join(tr.Sentences(), ". "), tr.Verdict())
	walk := func(w *trace.Walk) {
		if w == nil {
			return
		}
		for _, h := range w.Hops {
			fmt.Fprintf(&b, "  %s %s %s: %s\n", h.Machine, h.Direction, h.Device, trace.Describe(h.Headers))
		}
	}
	walk(&tr.There)
	b.WriteString("back:\n")
	walk(tr.Back)
	return b.String()
}

// TestTraceFollowsEveryMode: a packet is followed from its sender to its target and back, in every mode, within a node, from
// node to node, and between nodes and pods, by tracepoints and by packet sockets; and each goes as predicted.
func TestTraceFollowsEveryMode(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(v.lab+"/"+v.mode, func(t *testing.T) {
			p := planned(t, load(t, v.lab), "traces", v.mode)
			up(t, p)
			for _, pair := range tracedPairs(p) {
				follows(t, p, pair, func(*kernel.Options) {})
				follows(t, p, pair, func(o *kernel.Options) { o.Backend = kernel.Packet })
			}
			settled(t, p)
		})
	}
}

// follows follows a packet between two endpoints, and holds it against the plan and against what is predicted.
func follows(t *testing.T, p *plan.Plan, pair [2]plan.Endpoint, set func(*kernel.Options)) {
	t.Helper()
	from, to := pair[0], pair[1]
	want := p.Expect(plan.Flow{From: from, To: to})
	tr := traced(t, p, from, to, func(o *kernel.Options) {
		if !want.Reachable {
			o.Wait = 500 * time.Millisecond // it is known to be lost, and not asked where
		}
		set(o)
	})
	switch hops := tr.There.Hops; {
	case tr.OK() != want.Reachable:
		t.Errorf("by %s; the plan promises %v:\n%s", tr.Backend, want.Reachable, shown(tr))
	case !want.Reachable:
	case tr.Verdict() != "As predicted":
		t.Errorf("by %s: %s", tr.Backend, shown(tr))
	case hops[0].Namespace != from.Namespace || hops[len(hops)-1].Namespace != to.Namespace:
		t.Errorf("by %s it does not lead from end to end:\n%s", tr.Backend, shown(tr))
	}
}

// TestTraceFollowsEveryProtocol: also where a packet goes straight to a socket, of which no event tells.
func TestTraceFollowsEveryProtocol(t *testing.T) {
	for _, mode := range []string{"vxlan", "macvlan"} {
		p := planned(t, load(t, "three-node"), "protocols", mode)
		up(t, p)
		for _, protocol := range kernel.Protocols {
			for _, pair := range tracedPairs(p) {
				for _, backend := range []string{kernel.Tracepoint, kernel.Packet} {
					follows(t, p, pair, func(o *kernel.Options) { o.Protocol, o.Backend = protocol, backend })
				}
			}
		}
	}
}

// tracedPairs are one pair of each sort and family: pods of one node, pods of two, a node and its pod, a node and another's.
func tracedPairs(p *plan.Plan) [][2]plan.Endpoint {
	var pairs [][2]plan.Endpoint
	seen := map[string]bool{}
	all := p.Cluster.Endpoints()
	for _, from := range all {
		for _, to := range all {
			if from.Namespace == to.Namespace || from.Address.Is6() != to.Address.Is6() {
				continue
			}
			sort := fmt.Sprint(from.Address.Is6(), from.Pod != nil, to.Pod != nil, from.Node == to.Node)
			if !seen[sort] {
				seen[sort] = true
				pairs = append(pairs, [2]plan.Endpoint{from, to})
			}
		}
	}
	return pairs
}

// TestTraceNamesTheFault damages a lab in ways that workshops use: the trace names the machine, the device and the kernel's
// reason, in words, with a command that shows it. Packet sockets tell the machine and, with the prediction, the reason in words.
func TestTraceNamesTheFault(t *testing.T) {
	const (
		mac  = "$(ip netns exec %s.worker1 cat /sys/class/net/flannel.1/address)"
		mac2 = "$(ip netns exec %s.worker2 cat /sys/class/net/flannel.1/address)"
	)
	large := func(o *kernel.Options) { o.Size, o.DF = 1500, true }
	for _, tt := range []struct {
		name, mode, damage            string
		machine, device, reason, says string
		back                          bool // it is the answer that is lost
		warm                          bool // after a packet that made neighbours known
		set                           func(*kernel.Options)
	}{
		{name: "forwarding is off", mode: "vxlan", damage: "ip netns exec %s.master sysctl -qw net.ipv4.ip_forward=0", machine: "master", device: "cni0", reason: "IP_INADDRERRORS", says: "ip_forward is 0"},
		{name: "a route is missing", mode: "host-gw", damage: "ip -n %s.master route del 10.42.1.0/24", machine: "master", device: "cni0", reason: "IP_INNOROUTES", says: "no route to 10.42.1."},
		{name: "routes lead in a circle", mode: "host-gw", damage: "ip -n %s.master route replace 10.42.1.0/24 via W2; ip -n %s.worker2 route replace 10.42.1.0/24 via M", machine: "worker2", device: "eth0", reason: "IP_INHDR", says: "again and again"},
		{name: "the next hop is absent", mode: "host-gw", damage: "ip -n %s.master route replace 10.42.1.0/24 via 192.168.205.99", machine: "master", device: "eth0", reason: "NEIGH_FAILED", says: "nobody at eth0 of master answers for 192.168.205.99"},
		{name: "the way back is missing", mode: "host-gw", damage: "ip -n %s.worker1 route del 10.42.0.0/24", machine: "worker1", device: "cni0", reason: "IP_INNOROUTES", back: true, says: "no route to 10.42.0."},
		{name: "rp_filter is strict", mode: "vxlan", damage: "ip netns exec %s.worker1 sysctl -qw net.ipv4.conf.all.rp_filter=1; ip -n %s.worker1 route replace 10.42.0.0/24 via M", machine: "worker1", device: "flannel.1", reason: "IP_RPFILTER", says: "rp_filter"},
		{name: "a neighbour is wrong in a tunnel", mode: "vxlan", damage: "ip -n %s.master neigh replace 10.42.1.0 lladdr 02:aa:00:00:00:01 dev flannel.1 nud permanent; bridge -n %s.master fdb add 02:aa:00:00:00:01 dev flannel.1 dst W1", machine: "worker1", device: "flannel.1", reason: "OTHERHOST", says: "the frame is for 02:aa:00:00:00:01"},
		{name: "a neighbour is wrong", mode: "host-gw", damage: "ip -n %s.master neigh replace W1 lladdr 02:aa:00:00:00:01 dev eth0 nud permanent", machine: "lan", device: "master", reason: "NOBODY", says: "the MAC address 02:aa:00:00:00:01"},
		{name: "an FDB entry is missing", mode: "vxlan", damage: "bridge -n %s.master fdb del " + mac + " dev flannel.1", machine: "master", device: "flannel.1", reason: "NO_TX_TARGET", says: "has no forwarding entry for"},
		{name: "an FDB entry is wrong", mode: "vxlan", damage: "m=" + mac + "; bridge -n %s.master fdb del $m dev flannel.1; bridge -n %s.master fdb add $m dev flannel.1 dst W2", machine: "worker2", device: "flannel.1", reason: "OTHERHOST", says: "the frame is for"},
		{name: "a VNI is another", mode: "vxlan", damage: "m=" + mac + "; ip -n %s.worker1 link del flannel.1; ip -n %s.worker1 link add flannel.1 address $m type vxlan id 9 local W1 dev eth0 dstport 8472 nolearning; ip -n %s.worker1 link set flannel.1 up", machine: "worker1", device: "eth0", reason: "VXLAN_VNI_NOT_FOUND", says: "VNI"},
		{name: "a VXLAN port is another", mode: "vxlan", damage: "m=" + mac + "; ip -n %s.worker1 link del flannel.1; ip -n %s.worker1 link add flannel.1 address $m type vxlan id 1 local W1 dev eth0 dstport 4789 nolearning; ip -n %s.worker1 link set flannel.1 up", machine: "worker1", device: "eth0", reason: "NO_SOCKET", says: "no tunnel of worker1"},
		{name: "an MTU is too high", mode: "vxlan", damage: "v=$(ip -n %s.master -o link show type veth | grep -o 'veth[0-9a-f]*' | sort -u); for d in $v cni0; do ip -n %s.master link set $d mtu 1500; done; ip -n %s.master.p1 link set eth0 mtu 1500", machine: "master", device: "cni0", reason: "PKT_TOO_BIG", says: "by flannel.1, which carries 1450", set: large},
		{name: "an MTU is too high, and no ICMP error gets out", mode: "vxlan", damage: "v=$(ip -n %s.master -o link show type veth | grep -o 'veth[0-9a-f]*' | sort -u); for d in $v cni0; do ip -n %s.master link set $d mtu 1500; done; ip -n %s.master.p1 link set eth0 mtu 1500; ip netns exec %s.master nft 'add table inet fw; add chain inet fw out { type filter hook output priority 0; }; add rule inet fw out icmp type destination-unreachable drop'", machine: "master", device: "cni0", reason: "PKT_TOO_BIG", says: "by flannel.1, which carries 1450", set: large},
		{name: "a firewall drops the underlay", mode: "vxlan", damage: "ip netns exec %s.worker1 nft 'add table inet fw; add chain inet fw in { type filter hook input priority 0; }; add rule inet fw in udp dport 8472 drop'", machine: "worker1", device: "eth0", reason: "NETFILTER_DROP", says: "firewall of worker1"},
		{name: "a firewall drops at the sender", mode: "host-gw", damage: "ip netns exec %s.master.p1 nft 'add table inet fw; add chain inet fw out { type filter hook output priority 0; }; add rule inet fw out ip protocol icmp drop'", machine: "master/p1", reason: "NETFILTER_DROP", says: "firewall of master/p1"},
		{name: "proxy ARP is off", mode: "bgp", damage: "for f in $(ip netns exec %s.master sh -c 'ls /proc/sys/net/ipv4/conf/cali*/proxy_arp'); do ip netns exec %s.master sh -c \"echo 0 > $f\"; done; ip -n %s.master.p1 neigh flush all", machine: "master/p1", device: "eth0", reason: "NEIGH_FAILED", says: "proxy_arp is 0"},
		{name: "two have one address", mode: "macvlan", damage: "a=$(ip -n %s.worker1.p1 -o -4 address show dev eth0 | grep -o '[0-9.]*/[0-9]*' | head -1); ip -n %s.worker1.p1 address flush dev eth0; ip -n %s.worker2.p1 address add $a dev eth0; ip -n %s.master.p1 neigh flush all", machine: "worker2/p1", device: "eth0", reason: "ELSEWHERE", says: "as well"},
		{name: "a switch port is down", mode: "vxlan", damage: "ip -n %s.lan link set worker1 down", machine: "lan", device: "worker1", reason: "NO_PORT", says: "down", warm: true},
		{name: "a route is a blackhole", mode: "host-gw", damage: "ip -n %s.master route add blackhole 10.42.1.0/25", machine: "master", device: "cni0", reason: "NOT_SPECIFIED", says: "blackhole"},
		{name: "a rule prohibits", mode: "host-gw", damage: "ip -n %s.master rule add to 10.42.1.0/24 prohibit", machine: "master", device: "cni0", reason: "NOT_SPECIFIED", says: "prohibit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planned(t, load(t, "three-node"), "lost", tt.mode)
			up(t, p)
			if tt.warm {
				traced(t, p, endpoint(t, p, "master/p1", false), endpoint(t, p, "worker1/p1", false))
			}
			damage := tt.damage
			for word, machine := range map[string]string{"W1": "worker1", "W2": "worker2", "M": "master"} {
				damage = replaceWord(damage, word, endpoint(t, p, machine, false).Address.String())
			}
			sh(t, p, damage)
			set := tt.set
			if set == nil {
				set = func(*kernel.Options) {}
			}
			for _, backend := range []string{kernel.Tracepoint, kernel.Packet} {
				tr := traced(t, p, endpoint(t, p, "master/p1", false), endpoint(t, p, "worker1/p1", false), set, func(o *kernel.Options) {
					if o.Backend = backend; backend == kernel.Packet {
						o.Wait = time.Second // what is lost is not seen to be; this is longer than anything but a neighbour takes
					}
				})
				w := &tr.There
				if tt.back {
					w = tr.Back
				}
				switch {
				case w == nil || w.Drop == nil || tr.OK():
					t.Errorf("by %s nothing was lost:\n%s", backend, shown(tr))
				case w.Drop.Machine != tt.machine || backend == kernel.Tracepoint && (w.Drop.Device != tt.device || w.Drop.Reason != tt.reason) || !strings.Contains(w.Drop.Sentence, tt.says) || w.Drop.Command == "":
					t.Errorf("by %s: %+v\n%s", backend, *w.Drop, shown(tr))
				case !strings.HasPrefix(tr.Verdict(), "As predicted"):
					t.Errorf("by %s: it could be told before:\n%s", backend, shown(tr))
				}
			}
		})
	}
}

// TestTraceShowsTheDetour: a packet that goes by a third node arrives, and is seen there; its answer comes another way.
func TestTraceShowsTheDetour(t *testing.T) {
	p := planned(t, load(t, "three-node"), "detour", "host-gw")
	up(t, p)
	sh(t, p, "ip -n %s.master route replace 10.42.1.0/24 via "+endpoint(t, p, "worker2", false).Address.String())
	for _, backend := range []string{kernel.Tracepoint, kernel.Packet} {
		tr := traced(t, p, endpoint(t, p, "master/p1", false), endpoint(t, p, "worker1/p1", false), func(o *kernel.Options) { o.Backend = backend })
		there := slices.ContainsFunc(tr.There.Hops, func(h trace.Hop) bool { return h.Machine == "worker2" })
		if !tr.OK() || !there || tr.Mirrored() || tr.Verdict() != "As predicted" {
			t.Errorf("by %s: %s", backend, shown(tr))
		}
	}
}

// TestTraceNamesWhatBGPLost: where a speaker withdraws its node's pods, the others have no route.
func TestTraceNamesWhatBGPLost(t *testing.T) {
	p := planned(t, load(t, "three-node"), "withdrawn", "bgp")
	up(t, p)
	f := faults.All[slices.IndexFunc(faults.All, func(f *faults.Fault) bool { return f.Name == "bgp-not-announced" })]
	strike, ok := f.Pick(p, 1)
	if !ok {
		t.Fatal("it cannot be had")
	}
	apply(t, plan.Diff(p.State, faults.On(p.State, strike)))
	var from, to plan.Endpoint
	for _, e := range p.Cluster.Endpoints() {
		switch {
		case e.Pod != nil && e.Node.Name == strike.Machine:
			to = e
		case e.Pod != nil:
			from = e
		}
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) { // until it has been withdrawn
		tr := traced(t, p, from, to, func(o *kernel.Options) { o.Wait = time.Second })
		if d := tr.There.Drop; d != nil && d.Machine == from.Node.Name && d.Reason == "IP_INNOROUTES" && strings.Contains(d.Sentence, "no route to "+to.Address.String()) {
			return
		}
		if time.Now().After(end) {
			t.Fatal(shown(tr))
		}
	}
}

// replaceWord replaces a word that stands alone.
func replaceWord(text, word, with string) string {
	words := strings.Split(text, " ")
	for i, w := range words {
		if strings.TrimRight(w, ";") == word {
			words[i] = with + strings.TrimPrefix(w, word)
		}
	}
	return strings.Join(words, " ")
}
