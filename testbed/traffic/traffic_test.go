package traffic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// here opens sockets where the test runs.
func here(f func() error) error { return f() }

func loopback(address string, window time.Duration) Config {
	a := netip.MustParseAddr(address)
	client, server := CPUs()
	return Config{
		Client: Side{here, a, client}, Server: Side{here, a, server},
		Warmup: 20 * time.Millisecond, Window: window, Congestion: "cubic",
	}
}

// hangs is less than a socket waits for what does not come, and more than a busy machine takes for anything.
const hangs = limit - time.Second

func TestStream(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			cfg := loopback(address, 200*time.Millisecond)
			start := time.Now()
			r, err := RunStream(t.Context(), cfg, Streams{})
			took := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			if r.Sent != r.Received || r.Bytes <= 0 || r.Bytes >= r.Received {
				t.Errorf("sent %d bytes, received %d, %d of them within the window", r.Sent, r.Received, r.Bytes)
			}
			if r.Window != cfg.Window {
				t.Errorf("the window was %s, not %s", r.Window, cfg.Window)
			}
			if took > cfg.Takes()+hangs {
				t.Errorf("it took %s, not %s", took, cfg.Takes())
			}
			if want := float64(r.Bytes) * 8 / r.Window.Seconds() / 1e9; fmt.Sprintf("%.6f", r.Goodput()) != fmt.Sprintf("%.6f", want) {
				t.Errorf("goodput is %g Gbit/s, not %g", r.Goodput(), want)
			}
			if r.Congestion != "cubic" || r.MSS < 1000 {
				t.Errorf("congestion control %q, MSS %d", r.Congestion, r.MSS)
			}
		})
	}
}

// What the engine counts is what the kernel counts.
func TestStreamIsWhatTheKernelCounts(t *testing.T) {
	cfg := loopback("127.0.0.1", 100*time.Millisecond)
	var inKernel uint64
	received := int64(0)
	out, in := make([]byte, block), make([]byte, block)
	s := newSession(t.Context(), cfg)
	defer s.close()
	client, server, err := s.connect()
	if err != nil {
		t.Fatal(err)
	}
	s.add(end{side: cfg.Client, work: func() error {
		for range 50 {
			if _, err := client.write(out); err != nil {
				return err
			}
		}
		return client.finish()
	}}, end{side: cfg.Server, work: func() error {
		for {
			n, err := server.read(in)
			if err != nil {
				var tcp unix.TCPInfo
				err := tcpInfo(server.fd, &tcp)
				inKernel = tcp.Bytes_received - 1 // the end of the stream counts as one
				return err
			}
			received += int64(n)
		}
	}})
	if _, err := s.run(); err != nil {
		t.Fatal(err)
	}
	if received != 50*block || inKernel != 50*block {
		t.Errorf("sent %d bytes, received %d, the kernel says %d", 50*block, received, inKernel)
	}
}

func TestTransactions(t *testing.T) {
	for name, what := range map[string]Requests{
		"tcp":                 {},
		"tcp, sizes":          {Size: 300, Reply: 70000},
		"tcp, depth":          {Size: 100, Reply: 10, Depth: 16},
		"tcp, sizes at depth": {Size: 3000, Reply: 7000, Depth: 7},
		"udp":                 {Protocol: UDP},
		"udp, sizes":          {Protocol: UDP, Size: 64, Reply: 1400},
		"udp, depth":          {Protocol: UDP, Size: 1400, Reply: 64, Depth: 16},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := loopback("127.0.0.1", 200*time.Millisecond)
			what.Step = 50 * time.Millisecond
			start := time.Now()
			r, err := RunTransactions(t.Context(), cfg, what)
			took := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			if r.Count == 0 || r.Count != r.Latency.Count() || r.Lost != 0 {
				t.Errorf("%d transactions, %d in the histogram, %d lost", r.Count, r.Latency.Count(), r.Lost)
			}
			if total(r.Series) != r.Count || len(r.Series.Counts) != 4 {
				t.Errorf("%d transactions, in the series %v", r.Count, r.Series)
			}
			// So many are in flight at a time, so their times fill the window and no more: those that were under way when it
			// began take part of the warm-up too.
			depth := time.Duration(max(what.Depth, 1))
			if all := time.Duration(r.Count) * r.Latency.Mean(); all > depth*(cfg.Window+cfg.Warmup) {
				t.Errorf("%d transactions of %s on average, %d in flight, do not fit in %s", r.Count, r.Latency.Mean(), depth, cfg.Window)
			}
			if p50, p99 := r.Percentile(50), r.Percentile(99); p50 <= 0 || p50 > p99 {
				t.Errorf("p50 is %s, p99 is %s", p50, p99)
			}
			if took > cfg.Takes()+hangs {
				t.Errorf("it took %s, not %s", took, cfg.Takes())
			}
			if what.Protocol == TCP && (r.Congestion != "cubic" || r.MSS < 1000) {
				t.Errorf("congestion control %q, MSS %d", r.Congestion, r.MSS)
			}
		})
	}
}

func total(s Series) (n int64) {
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// A delay that is known must be found in the percentiles: a server that sleeps before one answer in ten.
func TestTransactionsSeeDelay(t *testing.T) {
	const delay = 25 * time.Millisecond // longer than a busy machine keeps a thread waiting, most of the time
	s := newSession(t.Context(), loopback("127.0.0.1", 600*time.Millisecond))
	defer s.close()
	client, server, err := s.connect()
	if err != nil {
		t.Fatal(err)
	}
	r := Transactions{Latency: NewHistogram()}
	s.add(end{side: s.Client, work: func() error {
		return r.ask(s, client, make([]byte, 1), 1, make([]byte, 1), make([]time.Duration, 1))
	}}, end{side: s.Server, work: func() error {
		buf := make([]byte, 1)
		for i := 0; ; i++ {
			if _, err := server.read(buf); err != nil {
				return nil
			}
			if i%10 == 0 {
				time.Sleep(delay)
			}
			if _, err := server.write(buf); err != nil {
				return err
			}
		}
	}})
	if r.Run, err = s.run(); err != nil {
		t.Fatal(err)
	}
	if p50, p95 := r.Percentile(50), r.Percentile(95); p50 >= delay || p95 < delay {
		t.Errorf("p50 is %s, p95 is %s, with %s before one answer in ten", p50, p95, delay)
	}
}

// every is each measurement there is, with what it is usually asked.
var every = map[string]func(context.Context, Config) error{
	"stream": func(ctx context.Context, cfg Config) error { _, err := RunStream(ctx, cfg, Streams{}); return err },
	"streams": func(ctx context.Context, cfg Config) error {
		_, err := RunStream(ctx, cfg, Streams{Count: 2, Direction: Both, Step: 10 * time.Millisecond})
		return err
	},
	"transactions": func(ctx context.Context, cfg Config) error {
		_, err := RunTransactions(ctx, cfg, Requests{})
		return err
	},
	"udp transactions": func(ctx context.Context, cfg Config) error {
		_, err := RunTransactions(ctx, cfg, Requests{Protocol: UDP, Depth: 4})
		return err
	},
	"connections": func(ctx context.Context, cfg Config) error {
		_, err := RunConnections(ctx, cfg, Connections{})
		return err
	},
	"packets": func(ctx context.Context, cfg Config) error {
		_, err := RunPackets(ctx, cfg, Packets{Size: 64, PerSecond: 20000})
		return err
	},
	"schedule": func(ctx context.Context, cfg Config) error {
		_, err := RunSchedule(ctx, cfg, Schedule{PerSecond: 5000})
		return err
	},
	"udp schedule": func(ctx context.Context, cfg Config) error {
		_, err := RunSchedule(ctx, cfg, Schedule{Protocol: UDP, PerSecond: 5000})
		return err
	},
	"loaded": func(ctx context.Context, cfg Config) error {
		_, _, err := RunLoaded(ctx, cfg, Requests{}, Streams{Count: 2})
		return err
	},
}

// The longer window must not allocate more than the shorter one.
func TestNothingIsAllocatedInTheWindow(t *testing.T) {
	for name, f := range every {
		t.Run(name, func(t *testing.T) {
			allocations := func(window time.Duration) uint64 {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				if err := f(t.Context(), loopback("127.0.0.1", window)); err != nil {
					t.Fatal(err)
				}
				runtime.ReadMemStats(&after)
				return after.Mallocs - before.Mallocs
			}
			// The runtime's own few (a timer, a thread) differ from run to run. What the engine allocates it does each time.
			for try := 1; ; try++ {
				short, long := allocations(10*time.Millisecond), allocations(210*time.Millisecond)
				if long <= short+20 {
					return
				}
				if try == 5 {
					t.Fatalf("a window of 10 ms allocates %d objects, one of 210 ms %d", short, long)
				}
			}
		})
	}
}

func TestCancel(t *testing.T) {
	for name, f := range every {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- f(ctx, loopback("127.0.0.1", time.Hour)) }()
			time.Sleep(100 * time.Millisecond)
			cancel()
			cancelled := time.Now()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
			if took := time.Since(cancelled); took > hangs {
				t.Errorf("it ended %s after it was cancelled", took)
			}
		})
	}
}

// A server whose backlog is full does not answer at all.
func TestCancelConnect(t *testing.T) {
	cfg := loopback("127.0.0.1", time.Hour)
	full, err := newSession(t.Context(), cfg).open(cfg.Server, unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer full.close()
	if err := unix.Listen(full.fd, 0); err != nil {
		t.Fatal(err)
	}
	address, err := unix.Getsockname(full.fd)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	for range 3 {
		s, err := newSession(ctx, cfg).open(cfg.Client, unix.SOCK_STREAM)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		if err := again(func() error { return unix.Connect(s.fd, address) }); err != nil {
			break
		}
	}
	if took := time.Since(start); took > hangs {
		t.Errorf("connect returned %s after the start, 100 ms of which it was not cancelled", took)
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	cfg := loopback("127.0.0.1", time.Millisecond)
	cfg.Congestion = "none-such"
	if _, err := RunStream(t.Context(), cfg, Streams{}); err == nil || !strings.Contains(err.Error(), "congestion control none-such") {
		t.Errorf("unknown congestion control: %v", err)
	}
	cfg = loopback("127.0.0.1", time.Millisecond)
	cfg.Server.Addr = netip.MustParseAddr("192.0.2.1")
	if _, err := RunTransactions(t.Context(), cfg, Requests{}); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("an address that is not here: %v", err)
	}
	cfg = loopback("127.0.0.1", time.Millisecond)
	cfg.Server.Addr = netip.MustParseAddr("::1")
	if _, err := RunStream(t.Context(), cfg, Streams{}); err == nil || !strings.Contains(err.Error(), "connect 127.0.0.1 to ::1") {
		t.Errorf("two families: %v", err)
	}
	broken := errors.New("broken")
	cfg = loopback("127.0.0.1", time.Millisecond)
	s := newSession(t.Context(), cfg)
	defer s.close()
	client, _, err := s.connect()
	if err != nil {
		t.Fatal(err)
	}
	s.add(end{side: cfg.Client, work: func() error { _, err := client.read(make([]byte, 1)); return err }},
		end{side: cfg.Server, work: func() error { return broken }})
	_, err = s.run()
	if !errors.Is(err, broken) {
		t.Errorf("the end that failed first is not the one that is blamed: %v", err)
	}
}

func TestNothingIsLeft(t *testing.T) {
	count := func(dir string) int {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	cycle := func() {
		if err := Exchange(t.Context(), loopback("127.0.0.1", 0), 3); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		cycle()
	}
	fds, threads := count("/proc/self/fd"), count("/proc/self/task")
	for range 50 {
		cycle()
	}
	if now := count("/proc/self/fd"); now > fds {
		t.Errorf("%d open files became %d", fds, now)
	}
	if now := count("/proc/self/task"); now > threads+3 {
		t.Errorf("%d threads became %d", threads, now)
	}
	// Nobody may inherit the CPU that a run was pinned to.
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	allowed := func(status []byte) string {
		for line := range bytes.Lines(status) {
			if bytes.HasPrefix(line, []byte("Cpus_allowed:")) {
				return string(line)
			}
		}
		return ""
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	var odd []string
	for _, task := range tasks {
		other, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if err == nil && allowed(other) != allowed(status) {
			odd = append(odd, task.Name())
		}
	}
	if slices.Sort(odd); len(odd) > 0 {
		t.Errorf("threads %v are still pinned", odd)
	}
}
