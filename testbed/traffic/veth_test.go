package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// veth returns two namespaces with a cable between them, and a run across it.
func veth(tb testing.TB, window time.Duration) (cfg Config, left, right string) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("not root: namespaces cannot be made")
	}
	left, right = fmt.Sprintf("en-%d-a", os.Getpid()), fmt.Sprintf("en-%d-b", os.Getpid())
	tb.Cleanup(func() {
		_ = exec.Command("ip", "netns", "del", left).Run()
		_ = exec.Command("ip", "netns", "del", right).Run()
	})
	sh(tb, "ip netns add %[1]s; ip netns add %[2]s; ip -n %[1]s link add eth0 type veth peer name eth0 netns %[2]s;"+
		"ip -n %[1]s address add 10.9.9.1/30 dev eth0; ip -n %[2]s address add 10.9.9.2/30 dev eth0;"+
		"ip -n %[1]s link set eth0 up; ip -n %[2]s link set eth0 up", left, right)
	cfg = loopback("10.9.9.1", window)
	cfg.Client.Open, cfg.Server.Open = inside(left), inside(right)
	cfg.Server.Addr = netip.MustParseAddr("10.9.9.2")
	return cfg, left, right
}

func sh(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if out, err := exec.Command("sh", "-euc", fmt.Sprintf(format, args...)).CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, out)
	}
}

// inside opens sockets in a namespace, on a thread that ends with its goroutine.
func inside(name string) Open {
	return func(f func() error) error {
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				defer unix.Close(fd)
				if err = unix.Setns(fd, unix.CLONE_NEWNET); err == nil {
					err = f()
				}
			}
			done <- err
		}()
		return <-done
	}
}

// drop lets a namespace drop one in so many of the packets that come in and match.
func drop(t *testing.T, namespace, match string, oneIn int) {
	t.Helper()
	refuse(t, namespace, match, oneIn, "drop")
}

func refuse(t *testing.T, namespace, match string, oneIn int, how string) {
	t.Helper()
	sh(t, "ip netns exec %s nft 'add table ip en; add chain ip en in { type filter hook input priority 0; };"+
		" add rule ip en in %s numgen inc mod %d 0 counter %s'", namespace, match, oneIn, how)
}

func TestPacketsThatAreDropped(t *testing.T) {
	cfg, _, right := veth(t, 500*time.Millisecond)
	drop(t, right, "udp length 72", 20)
	r, err := RunPackets(t.Context(), cfg, Packets{Size: 64, PerSecond: 8000})
	if err != nil {
		t.Fatal(err)
	}
	// The rule counts exactly; where the window begins and ends in its twenty, it does not matter by more than one.
	onPath := r.Lost() - r.Overflowed - r.Refused
	if want := r.Offered / 20; r.Offered < 20 || onPath < want-1 || onPath > want+1 {
		t.Errorf("%d of %d lost on the path, not %d: %+v", onPath, r.Offered, want, r)
	}
}

func TestTransactionsThatAreDropped(t *testing.T) {
	cfg, _, right := veth(t, 500*time.Millisecond)
	drop(t, right, "udp length 16", 50)
	for _, depth := range []int{1, 8} {
		r, err := RunTransactions(t.Context(), cfg, Requests{Protocol: UDP, Depth: depth, Timeout: 30 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		// Of those sent, one in fifty is lost, but it is known to be only after the timeout.
		if want := (r.Count + r.Lost) / 50; r.Count == 0 || r.Lost < want-int64(depth)-1 || r.Lost > want+r.Late+int64(depth)+1 {
			t.Errorf("depth %d: %d answered, %d lost, %d late", depth, r.Count, r.Lost, r.Late)
		}
		if r.Count != r.Latency.Count() {
			t.Errorf("depth %d: %d answered, %d in the histogram", depth, r.Count, r.Latency.Count())
		}
	}
}

// A connection whose request is answered with a reset stands at the server's end for ever. It is lost, and the next ones are not.
func TestConnectionsThatAreReset(t *testing.T) {
	cfg, _, right := veth(t, 500*time.Millisecond)
	cfg.Warmup = 0
	const oneIn = 2 * resets
	refuse(t, right, "tcp flags & psh == psh", oneIn, "reject with tcp reset")
	r, err := RunConnections(t.Context(), cfg, Connections{})
	if err != nil {
		t.Fatal(err)
	}
	// The first request is the first that is refused, and lies in the window.
	if want := 1 + (r.Count+r.Lost)/oneIn; r.Lost < want-1 || r.Lost > want || r.Lost == 0 || r.Count == 0 || r.Count != r.Latency.Count() {
		t.Errorf("%d of %d lost, not %d; %d in the histogram", r.Lost, r.Count+r.Lost, want, r.Latency.Count())
	}

	sh(t, "ip netns exec %s nft 'delete table ip en'", right)
	refuse(t, right, "tcp flags & psh == psh", 100, "reject with tcp reset")
	if _, err = RunConnections(t.Context(), cfg, Connections{}); !errors.Is(err, unix.ECONNRESET) || !strings.Contains(err.Error(), "2 of ") {
		t.Errorf("one in a hundred is reset, and it says %v", err)
	}
}

func TestScheduleThatIsDropped(t *testing.T) {
	cfg, left, _ := veth(t, 500*time.Millisecond)
	drop(t, left, "udp length 40", 25)
	r, err := RunSchedule(t.Context(), cfg, Schedule{Protocol: UDP, PerSecond: 2000})
	if err != nil {
		t.Fatal(err)
	}
	if r.Due != 1000 || r.Lost() < 39 || r.Lost() > 41 {
		t.Errorf("%d of %d lost, not 40", r.Lost(), r.Due)
	}
}

func TestRetransmits(t *testing.T) {
	cfg, _, right := veth(t, 300*time.Millisecond)
	drop(t, right, "tcp flags ! syn", 100)
	for _, direction := range []Direction{Forward, Both} {
		r, err := RunStream(t.Context(), cfg, Streams{Count: 2, Direction: direction})
		if err != nil {
			t.Fatal(err)
		}
		if r.Retransmits == 0 || r.RetransmitsPerGB() <= 0 || r.Sent != r.Received || r.MSS != 1448 {
			t.Errorf("%+v", r)
		}
	}
}

// A filled token bucket lets through exactly its rate, and its queue delays by exactly its length.
func TestPacketsThroughABucket(t *testing.T) {
	cfg, left, _ := veth(t, time.Second)
	cfg.Warmup = 100 * time.Millisecond
	const frame = 14 + 20 + 8 + 1000
	sh(t, "tc -n %s qdisc add dev eth0 root tbf rate 8mbit burst 20000 limit 30000", left)
	r, err := RunPackets(t.Context(), cfg, Packets{Size: 1000, PerSecond: 3000})
	if err != nil {
		t.Fatal(err)
	}
	const through = 8e6 / 8 / frame
	if r.Rate() > 1.03*through || r.Overflowed > 0 {
		t.Errorf("%.0f per second got through, not %.0f: %+v", r.Rate(), through, r)
	}
	if r.Skipped > 30 { // the queue may have run empty
		t.Logf("the machine is busy: %d of 3000 were not offered", r.Skipped)
		return
	}
	if r.Rate() < 0.9*through {
		t.Errorf("only %.0f per second got through, not %.0f: %+v", r.Rate(), through, r)
	}
	if p50 := r.Delay.Percentile(50); p50 < 25*time.Millisecond || p50 > 60*time.Millisecond {
		t.Errorf("half of them took longer than %s, not 30 ms", p50)
	}
}

func TestFindRateOfABucket(t *testing.T) {
	cfg, left, _ := veth(t, 500*time.Millisecond)
	cfg.Warmup = 100 * time.Millisecond
	sh(t, "tc -n %s qdisc add dev eth0 root tbf rate 8mbit burst 8000 limit 8000", left)
	const through = 8e6 / 8 / (14 + 20 + 8 + 1000)
	f := Search{Size: 1000, Low: 100, High: 10000, Loss: 0.01, Trial: 200 * time.Millisecond, Steps: 8}
	r, err := FindRate(t.Context(), cfg, f)
	if err != nil {
		t.Fatal(err)
	}
	if r.Rate() > 1.08*through {
		t.Errorf("%.0f per second, though the bucket lets no more than %.0f through", r.Rate(), through)
	}
	busy := false
	for _, trial := range r.Trials {
		busy = busy || trial.Skipped > trial.Offered/20
	}
	if !busy && r.Confirmed && (r.Rate() < 0.85*through || r.Limit != LimitedByPath) {
		t.Errorf("%.0f per second, not %.0f, limited by %s: %+v", r.Rate(), through, r.Limit, r.Trials)
	}
}

// What arrives in another order, or twice, is counted as such, and as nothing else.
func TestOrder(t *testing.T) {
	cfg := loopback("127.0.0.1", 100*time.Millisecond)
	cfg.Warmup = 0
	p, err := newPlan(cfg, 1000)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(t.Context(), cfg)
	defer s.close()
	client, server, err := s.pair()
	if err != nil {
		t.Fatal(err)
	}
	if err := patience(server.fd, unix.SO_RCVTIMEO, quiet); err != nil {
		t.Fatal(err)
	}
	const behind = 5 * time.Millisecond
	d, c := &Delivery{Delay: NewHistogram()}, newCohort(p)
	var sent atomic.Bool
	s.add(end{side: cfg.Server, work: func() error { return d.receive(server, newBatch(64, stamp), c, &sent) }})
	s.add(end{side: cfg.Client, work: func() error {
		defer sent.Store(true)
		buf := make([]byte, stamp)
		for i := range uint64(120) { // every tenth is missing, every pair turned round, and every fifth comes twice
			number := i ^ 1
			if number%10 == 0 {
				continue
			}
			binary.LittleEndian.PutUint64(buf, number)
			binary.LittleEndian.PutUint64(buf[8:], uint64(now()-behind))
			for range 1 + (number%5)/4 {
				if _, err := client.write(buf); err != nil {
					return err
				}
			}
		}
		return nil
	}})
	if _, err := s.run(); err != nil {
		t.Fatal(err)
	}
	if c.received != 90 || c.duplicates != 20 || c.reordered != 40 {
		t.Errorf("%d received, %d duplicates, %d reordered", c.received, c.duplicates, c.reordered)
	}
	if d.Delay.Count() != 90 || d.Delay.Percentile(0) < behind-behind/1000 {
		t.Errorf("%d delays, the shortest %s", d.Delay.Count(), d.Delay.Percentile(0))
	}
}

// Streams take turns at a bottleneck, and together get what it lets through.
func TestStreamThroughABucket(t *testing.T) {
	cfg, left, _ := veth(t, time.Second)
	cfg.Warmup = 300 * time.Millisecond
	sh(t, "tc -n %s qdisc add dev eth0 root tbf rate 200mbit burst 15000 latency 20ms", left)
	r, err := RunStream(t.Context(), cfg, Streams{Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	// 1448 bytes of 1514 are payload.
	if got, want := r.Goodput(), 0.2*1448/1514; got > 1.01*want || got < 0.6*want {
		t.Errorf("%.4f Gbit/s, not %.4f", got, want)
	}
}
