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
				e := p.Expect(pair[0], pair[1])
				cold := walked(t, p, pair, 0)
				if (cold.Disposition == trace.Arrived) != (e.Reachable || e.OneWay) {
					t.Errorf("%s → %s over %s: predicted to end as %q: %s", pair[0].Title, pair[1].Title, pair[1].Address, cold.Disposition, told(cold))
					continue
				}
				seen, arrived := w.send(t, pair)
				walk := walked(t, p, pair, 0)
				if arrived != (walk.Disposition == trace.Arrived) {
					t.Errorf("%s → %s: arrived is %v, and predicted %s", pair[0].Title, pair[1].Title, arrived, told(walk))
				}
				if !arrived {
					continue
				}
				for name, walk := range map[string]trace.Walk{"before": cold, "after": walk} {
					if got := places(walk); !slices.Equal(got, seen) {
						t.Errorf("%s → %s, predicted %s:\n%s\nseen:\n%s", pair[0].Title, pair[1].Title, name, told(walk), strings.Join(seen, "\n"))
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

func walked(t *testing.T, p *plan.Plan, pair [2]plan.Endpoint, size int) trace.Walk {
	t.Helper()
	w, err := predict.Walk(t.Context(), p, predict.Probe{
		From: pair[0].Namespace, To: pair[1].Address, At: pair[1].Namespace, Protocol: "udp", Port: witnessPort, Size: size, DF: size != 0,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// places are the hops of a walk, without what it says of them.
func places(w trace.Walk) []string {
	var list []string
	for _, h := range w.Hops {
		list = append(list, fmt.Sprintf("%s %s %s", h.Namespace, h.Device, h.Direction))
	}
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
			if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, every); err != nil {
				return err
			}
			return unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
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

// send sends a packet, until one arrives, and returns where the last was seen.
func (w witnessing) send(t *testing.T, pair [2]plan.Endpoint) (seen []string, arrived bool) {
	t.Helper()
	server := inside(t, pair[1].Namespace, netip.AddrPortFrom(pair[1].Address, witnessPort))
	client := inside(t, pair[0].Namespace, netip.AddrPortFrom(unspecified(pair[1].Address), 0))
	defer server.Close()
	defer client.Close()
	for try := range 30 {
		w.seen(nil)
		cookie := fmt.Appendf(nil, "predicted %s %d %d", pair[0].Title, os.Getpid(), try)
		if _, err := client.WriteToUDPAddrPort(cookie, netip.AddrPortFrom(pair[1].Address, witnessPort)); err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		buf := make([]byte, 100)
		_ = server.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		for {
			n, err := server.Read(buf)
			if err != nil {
				break
			}
			if string(buf[:n]) == string(cookie) {
				return w.seen(cookie), true
			}
		}
	}
	return nil, false
}

// seen returns where a packet has been seen, in the order of time, and forgets all others.
func (w witnessing) seen(cookie []byte) []string {
	type sight struct {
		at    int64
		order int
		place string
	}
	var sights []sight
	buf, oob := make([]byte, 2048), make([]byte, 256)
	for _, one := range w {
		for {
			n, oobn, _, from, err := unix.Recvmsg(one.fd, buf, oob, 0)
			if err != nil {
				break
			}
			if len(cookie) == 0 || !strings.HasSuffix(strings.TrimRight(string(buf[:n]), "\x00"), string(cookie)) {
				continue
			}
			ll := from.(*unix.SockaddrLinklayer)
			way := trace.In
			if ll.Pkttype == unix.PACKET_OUTGOING {
				way = trace.Out
			}
			messages, err := unix.ParseSocketControlMessage(oob[:oobn])
			var at int64
			for _, m := range messages {
				if m.Header.Type == unix.SO_TIMESTAMPNS {
					at = int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
				}
			}
			if err == nil {
				sights = append(sights, sight{at, len(sights), fmt.Sprintf("%s %s %s", one.namespace, one.devices[ll.Ifindex], way)})
			}
		}
	}
	slices.SortStableFunc(sights, func(a, b sight) int { return int(a.at - b.at) })
	var list []string
	for _, s := range sights {
		list = append(list, s.place)
	}
	return list
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func inside(t *testing.T, namespace string, at netip.AddrPort) *net.UDPConn {
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
