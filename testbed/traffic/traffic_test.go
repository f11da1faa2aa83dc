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

func TestStream(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			cfg := loopback(address, 200*time.Millisecond)
			start := time.Now()
			r, err := RunStream(t.Context(), cfg)
			took := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			if r.Sent != r.Received || r.Bytes <= 0 || r.Bytes >= r.Received {
				t.Errorf("sent %d bytes, received %d, %d of them within the window", r.Sent, r.Received, r.Bytes)
			}
			if r.Window < cfg.Window || r.Window > cfg.Window+100*time.Millisecond {
				t.Errorf("the window was %s, not %s", r.Window, cfg.Window)
			}
			if most := cfg.Warmup + cfg.Window + 200*time.Millisecond; took > most {
				t.Errorf("it took %s, more than %s", took, most)
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
	err := run(t.Context(), cfg,
		func(s *socket) error {
			for range 50 {
				if _, err := s.write(out); err != nil {
					return err
				}
			}
			return s.finish()
		},
		func(s *socket) error {
			for {
				n, err := s.read(in)
				if err != nil {
					tcp, infoErr := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
					if infoErr != nil {
						return infoErr
					}
					inKernel = tcp.Bytes_received - 1 // the end of the stream counts as one
					return nil
				}
				received += int64(n)
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	if received != 50*block || inKernel != 50*block {
		t.Errorf("sent %d bytes, received %d, the kernel says %d", 50*block, received, inKernel)
	}
}

func TestTransactions(t *testing.T) {
	cfg := loopback("127.0.0.1", 200*time.Millisecond)
	start := time.Now()
	r, err := RunTransactions(t.Context(), cfg)
	took := time.Since(start)
	if err != nil {
		t.Fatal(err)
	}
	if r.Count < 100 || r.Count != r.Latency.TotalCount() {
		t.Errorf("%d transactions, %d in the histogram", r.Count, r.Latency.TotalCount())
	}
	// One is in flight at a time, so rate and mean are two views of one thing.
	if product := r.Rate() * r.Latency.Mean() / 1e9; product < 0.98 || product > 1.02 {
		t.Errorf("%.0f transactions/s of %.0f ns on average make %.3f s", r.Rate(), r.Latency.Mean(), product)
	}
	if p50, p99 := r.Percentile(50), r.Percentile(99); p50 <= 0 || p50 > p99 {
		t.Errorf("p50 is %s, p99 is %s", p50, p99)
	}
	if most := cfg.Warmup + cfg.Window + 200*time.Millisecond; took > most {
		t.Errorf("it took %s, more than %s", took, most)
	}
	if r.Congestion != "cubic" {
		t.Errorf("congestion control %q", r.Congestion)
	}
}

// A delay that is known must be found in the percentiles: a server that sleeps before one answer in ten.
func TestTransactionsSeeDelay(t *testing.T) {
	const delay = 3 * time.Millisecond
	r, err := transact(t.Context(), loopback("127.0.0.1", 300*time.Millisecond), func(s *socket, buf []byte) error {
		for i := 0; ; i++ {
			if _, err := s.read(buf); err != nil {
				return nil
			}
			if i%10 == 0 {
				time.Sleep(delay)
			}
			if _, err := s.write(buf); err != nil {
				return err
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if p50, p95 := r.Percentile(50), r.Percentile(95); p50 >= delay || p95 < delay {
		t.Errorf("p50 is %s, p95 is %s, with %s before one answer in ten", p50, p95, delay)
	}
}

// The longer window must not allocate more than the shorter one.
func TestNothingIsAllocatedInTheWindow(t *testing.T) {
	runs := map[string]func(context.Context, Config) error{
		"stream":       func(ctx context.Context, cfg Config) error { _, err := RunStream(ctx, cfg); return err },
		"transactions": func(ctx context.Context, cfg Config) error { _, err := RunTransactions(ctx, cfg); return err },
	}
	for name, f := range runs {
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
			allocations(10 * time.Millisecond)
			// Thousands of blocks or transactions make the difference. The runtime's own few (a timer, a thread) may differ.
			if short, long := allocations(20*time.Millisecond), allocations(420*time.Millisecond); long > short+20 {
				t.Errorf("a window of 20 ms allocates %d objects, one of 420 ms %d", short, long)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	runs := map[string]func(context.Context, Config) error{
		"stream":       func(ctx context.Context, cfg Config) error { _, err := RunStream(ctx, cfg); return err },
		"transactions": func(ctx context.Context, cfg Config) error { _, err := RunTransactions(ctx, cfg); return err },
	}
	for name, f := range runs {
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
			if took := time.Since(cancelled); took > 200*time.Millisecond {
				t.Errorf("it ended %s after it was cancelled", took)
			}
		})
	}
}

// A server whose backlog is full does not answer at all.
func TestCancelConnect(t *testing.T) {
	cfg := loopback("127.0.0.1", time.Hour)
	full, err := open(t.Context(), cfg, cfg.Server)
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
		s, err := open(ctx, cfg, cfg.Client)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		if err := again(func() error { return unix.Connect(s.fd, address) }); err != nil {
			break
		}
	}
	if took := time.Since(start); took > 300*time.Millisecond {
		t.Errorf("connect returned %s after the start, 100 ms of which it was not cancelled", took)
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	cfg := loopback("127.0.0.1", time.Millisecond)
	cfg.Congestion = "none-such"
	if _, err := RunStream(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "congestion control none-such") {
		t.Errorf("unknown congestion control: %v", err)
	}
	cfg = loopback("127.0.0.1", time.Millisecond)
	cfg.Server.Addr = netip.MustParseAddr("192.0.2.1")
	if _, err := RunTransactions(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("an address that is not here: %v", err)
	}
	cfg = loopback("127.0.0.1", time.Millisecond)
	cfg.Server.Addr = netip.MustParseAddr("::1")
	if _, err := RunStream(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "connect 127.0.0.1 to ::1") {
		t.Errorf("two families: %v", err)
	}
	broken := errors.New("broken")
	cfg = loopback("127.0.0.1", time.Millisecond)
	err := run(t.Context(), cfg, func(s *socket) error { return ping(s, make([]byte, 1)) }, func(*socket) error { return broken })
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
