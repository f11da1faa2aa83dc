package suite

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
	"labnet/testbed/predict"
)

// TestPredictedAsSeen holds what is predicted of a packet against what the devices of all namespaces really saw of it, between
// pods of one node, of two, and between nodes and pods, in every mode and family.
func TestPredictedAsSeen(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(v.lab+"/"+v.mode, func(t *testing.T) {
			p := planned(t, load(t, v.lab), "predict", v.mode)
			up(t, p)
			w := witnesses(t, p)
			for _, pair := range ways(p) {
				cold, coldBack := walked(t, p, pair)
				promised := pair[0].Node.Kind == lab.Node && pair[1].Node.Kind == lab.Node // routes that are learnt may connect others
				if e := p.Expect(plan.Flow{From: pair[0], To: pair[1]}); promised && (cold.Disposition == trace.Arrived) != (e.Reachable || e.OneWay) {
					t.Errorf("%s → %s is predicted: %s", pair[0].Title, pair[1].Title, told(cold))
					continue
				}
				seen, back, arrived := w.send(t, pair, cold.Disposition == trace.Arrived, coldBack.Disposition == trace.Arrived)
				warm, warmBack := walked(t, p, pair)
				if arrived != (warm.Disposition == trace.Arrived) {
					t.Errorf("%s → %s: arrived is %v, and predicted %s", pair[0].Title, pair[1].Title, arrived, told(warm))
				}
				if !arrived {
					continue
				}
				for _, one := range []struct {
					name string
					walk trace.Walk
					seen []string
				}{{"before", cold, seen}, {"the answer before", coldBack, back}, {"after", warm, seen}, {"the answer after", warmBack, back}} {
					if got := places(p, one.walk); !slices.Equal(got, one.seen) {
						t.Errorf("%s → %s, predicted %s: %s\nseen:\n%s", pair[0].Title, pair[1].Title, one.name, told(one.walk), strings.Join(one.seen, "\n"))
					}
				}
			}
		})
	}
}

// ways are pairs of each kind.
func ways(p *plan.Plan) [][2]plan.Endpoint {
	var pairs [][2]plan.Endpoint
	all := p.Cluster.Everyone()
	taken := map[string]bool{}
	kind := func(e plan.Endpoint) string {
		if e.Pod != nil {
			return "pod"
		}
		return string(e.Node.Kind)
	}
	for _, from := range all {
		for _, to := range all {
			if from.Namespace == to.Namespace || from.Address.Is6() != to.Address.Is6() || from.Also || to.Also || kind(from) != "pod" && kind(to) != "pod" {
				continue
			}
			key := fmt.Sprint(kind(from), kind(to), from.Node == to.Node, from.Address.Is6())
			if !taken[key] {
				taken[key] = true
				pairs = append(pairs, [2]plan.Endpoint{from, to})
			}
		}
	}
	return pairs
}

func walked(t *testing.T, p *plan.Plan, pair [2]plan.Endpoint) (there, back trace.Walk) {
	t.Helper()
	there, back, err := predict.Exchange(t.Context(), p, predict.Probe{
		From: pair[0].Namespace, To: pair[1].Address, At: pair[1].Namespace, Protocol: "udp", Port: witnessPort,
	})
	if err != nil {
		t.Fatal(err)
	}
	return there, back
}

// places are the hops of a walk that a witness sees, without what it says of them: in the order of the namespaces, and in each in
// that of time. An ipvlan in mode l3s takes what is for it out of the node's stack, behind the sockets that see frames.
func places(p *plan.Plan, w trace.Walk) []string {
	var list []string
	for i, h := range w.Hops {
		if l, ok := p.State.Get(plan.Key{Namespace: h.Namespace, Kind: plan.KindLink, Name: h.Device}).(plan.Link); ok && i > 0 {
			ipvlan, ok := l.Device.(plan.IPVLAN)
			before := plan.End{Namespace: w.Hops[i-1].Namespace, Name: w.Hops[i-1].Device}
			if ok && ipvlan.Mode == "l3s" && w.Hops[i-1].Direction == trace.In && l.Below() == before {
				continue
			}
		}
		list = append(list, fmt.Sprintf("%s %s %s", h.Namespace, h.Device, h.Direction))
	}
	return byNamespace(list)
}

func byNamespace(list []string) []string {
	namespace := func(place string) string { return strings.Fields(place)[0] }
	slices.SortStableFunc(list, func(a, b string) int { return strings.Compare(namespace(a), namespace(b)) })
	return list
}

func told(w trace.Walk) string {
	var b strings.Builder
	fmt.Fprintln(&b, w.Disposition)
	for _, h := range w.Hops {
		fmt.Fprintf(&b, "  %s %s %s", h.Machine, h.Device, h.Direction)
		if h.Decision != nil {
			fmt.Fprintf(&b, "  [%s]", h.Decision.Text)
		}
		fmt.Fprintf(&b, "  %s\n", h.Command)
	}
	if w.Drop != nil {
		fmt.Fprintf(&b, "  %s %s %s: %s; %s\n", w.Drop.Machine, w.Drop.Device, w.Drop.Reason, w.Drop.Sentence, w.Drop.Command)
	}
	return b.String()
}

const witnessPort = 9999

// witness sees the frames of all devices of a namespace.
type witness struct {
	namespace string
	fd        int
	devices   map[int]string
}

type witnessing []*witness

// witnesses listens in all namespaces of a lab.
func witnesses(t *testing.T, p *plan.Plan) witnessing {
	t.Helper()
	var all witnessing
	for _, ns := range p.State.Namespaces() {
		place, err := testbed.Open(ns)
		if err != nil {
			t.Fatal(err)
		}
		w := &witness{namespace: ns, devices: map[int]string{}}
		err = place.Do(func() error {
			list, err := net.Interfaces()
			if err != nil {
				return err
			}
			for _, d := range list {
				w.devices[d.Index] = d.Name
			}
			every := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
			w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, every)
			return err
		})
		place.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(w.fd) })
		all = append(all, w)
	}
	return all
}

// send sends a packet, until one is answered, and returns where that and the answer were seen. Where no answer is predicted, the
// first that arrives is enough: its answer may not even leave.
func (w witnessing) send(t *testing.T, pair [2]plan.Endpoint, hopeful, answered bool) (seen, back []string, arrived bool) {
	t.Helper()
	server := listen(t, pair[1].Namespace, netip.AddrPortFrom(pair[1].Address, witnessPort))
	client := listen(t, pair[0].Namespace, netip.AddrPortFrom(unspecified(pair[1].Address), 0))
	defer server.Close()
	defer client.Close()
	tries := 3
	if hopeful {
		tries = 30
	}
	// ears takes in just one packet.
	ears := func(conn *net.UDPConn, want string) (from netip.AddrPort, ok bool) {
		buf := make([]byte, 100)
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil || string(buf[:n]) == want {
				return from, err == nil
			}
		}
	}
	for try := range tries {
		w.seen("")
		cookie := fmt.Sprintf("asked %s %d %d", pair[0].Title, os.Getpid(), try)
		reply := strings.Replace(cookie, "asked", "answered", 1)
		if _, err := client.WriteToUDPAddrPort([]byte(cookie), netip.AddrPortFrom(pair[1].Address, witnessPort)); err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		from, ok := ears(server, cookie)
		if !ok {
			continue
		}
		arrived = true
		_, err := server.WriteToUDPAddrPort([]byte(reply), from)
		if err == nil {
			_, ok = ears(client, reply)
		}
		if err == nil && ok || !answered {
			both := w.seen(cookie, reply)
			return both[cookie], both[reply], true
		}
	}
	return nil, nil, arrived
}

// seen returns where packets have been seen, as places does, and forgets all others.
func (w witnessing) seen(cookies ...string) map[string][]string {
	list := map[string][]string{}
	buf := make([]byte, 2048)
	for _, one := range w {
		for {
			n, from, err := unix.Recvfrom(one.fd, buf, 0)
			if err != nil {
				break
			}
			data := strings.TrimRight(string(buf[:n]), "\x00")
			at := slices.IndexFunc(cookies, func(c string) bool { return c != "" && strings.HasSuffix(data, c) })
			if at < 0 || n > 24 && buf[12] == 8 && buf[23] == unix.IPPROTO_ICMP { // a redirect quotes the packet
				continue
			}
			ll := from.(*unix.SockaddrLinklayer)
			way := trace.In
			if ll.Pkttype == unix.PACKET_OUTGOING {
				way = trace.Out
			}
			list[cookies[at]] = append(list[cookies[at]], fmt.Sprintf("%s %s %s", one.namespace, one.devices[ll.Ifindex], way))
		}
	}
	for _, l := range list {
		byNamespace(l)
	}
	return list
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func listen(t *testing.T, namespace string, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	place, err := testbed.Open(namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	var conn *net.UDPConn
	err = place.Do(func() error {
		for range 30 {
			if conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err == nil {
				return nil
			}
			time.Sleep(100 * time.Millisecond) // an IPv6 address may be tentative
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
