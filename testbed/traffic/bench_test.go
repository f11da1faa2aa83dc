package traffic

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkStream holds the engine against iperf3: one TCP stream each, in turn, over the same path, with the same
// congestion control, on the same CPUs. The engine must not be what limits a measurement.
func BenchmarkStream(b *testing.B) {
	b.Run("loopback", func(b *testing.B) {
		against(b, loopback("127.0.0.1", time.Second), nil, nil)
	})
	b.Run("veth", func(b *testing.B) {
		if os.Geteuid() != 0 {
			b.Skip("not root: namespaces cannot be made")
		}
		left, right := fmt.Sprintf("ms-%d-a", os.Getpid()), fmt.Sprintf("ms-%d-b", os.Getpid())
		b.Cleanup(func() {
			_ = exec.Command("ip", "netns", "del", left).Run()
			_ = exec.Command("ip", "netns", "del", right).Run()
		})
		sh(b, "ip netns add %[1]s; ip netns add %[2]s; ip -n %[1]s link add eth0 type veth peer name eth0 netns %[2]s;"+
			"ip -n %[1]s address add 10.9.9.1/30 dev eth0; ip -n %[2]s address add 10.9.9.2/30 dev eth0;"+
			"ip -n %[1]s link set eth0 up; ip -n %[2]s link set eth0 up", left, right)
		cfg := loopback("10.9.9.1", time.Second)
		cfg.Client.Open, cfg.Server.Open = inside(left), inside(right)
		cfg.Server.Addr = netip.MustParseAddr("10.9.9.2")
		against(b, cfg, []string{"ip", "netns", "exec", left}, []string{"ip", "netns", "exec", right})
	})
}

// against runs both in turn; left and right are what iperf3's client and server are started with.
func against(b *testing.B, cfg Config, left, right []string) {
	if _, err := exec.LookPath("iperf3"); err != nil {
		b.Skip("no iperf3 to compare with")
	}
	cfg.Warmup = 200 * time.Millisecond
	var ours, theirs, ratios []float64
	for b.Loop() {
		r, err := RunStream(b.Context(), cfg, Streams{})
		if err != nil {
			b.Fatal(err)
		}
		other := iperf3(b, cfg, left, right)
		ours, theirs, ratios = append(ours, r.Goodput()), append(theirs, other), append(ratios, r.Goodput()/other)
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	b.ReportMetric(median(ours), "Gbit/s")
	b.ReportMetric(median(theirs), "iperf3-Gbit/s")
	b.ReportMetric(median(ratios), "of-iperf3")
	b.ReportMetric(0, "ns/op")
}

func iperf3(b *testing.B, cfg Config, left, right []string) float64 {
	b.Helper()
	at := cfg.Server.Addr.String()
	args := func(prefix []string, format string, args ...any) *exec.Cmd {
		words := append(slices.Clone(prefix), strings.Fields(fmt.Sprintf("iperf3 "+format, args...))...)
		return exec.Command(words[0], words[1:]...)
	}
	const port = 15201
	server := args(right, "-s -1 -p %d -B %s", port, at)
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	pin := ""
	if cfg.Client.CPU != Unpinned {
		pin = fmt.Sprintf("-A %d,%d", cfg.Client.CPU, cfg.Server.CPU)
	}
	for range 20 { // until the server listens; with -J a refused connection is a document too
		out, err := args(left, "-c %s -p %d -t 1 -C %s %s -J", at, port, cfg.Congestion, pin).Output()
		var result struct {
			Error string
			End   struct {
				Received struct {
					Rate float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			}
		}
		if err := json.Unmarshal(out, &result); err == nil && result.End.Received.Rate > 0 {
			return result.End.Received.Rate / 1e9
		}
		if !strings.Contains(result.Error, "refused") {
			b.Fatalf("iperf3: %v\n%s", err, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.Fatal("iperf3 does not listen")
	return 0
}

// BenchmarkTransactions says what the engine itself can do, on a path that costs the least.
func BenchmarkTransactions(b *testing.B) {
	var rates, p50, p99 []float64
	for b.Loop() {
		r, err := RunTransactions(b.Context(), loopback("127.0.0.1", 500*time.Millisecond), Requests{})
		if err != nil {
			b.Fatal(err)
		}
		rates = append(rates, r.Rate())
		p50 = append(p50, float64(r.Percentile(50).Nanoseconds()))
		p99 = append(p99, float64(r.Percentile(99).Nanoseconds()))
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	b.ReportMetric(median(rates), "transactions/s")
	b.ReportMetric(median(p50), "p50-ns")
	b.ReportMetric(median(p99), "p99-ns")
	b.ReportMetric(0, "ns/op")
}

func sh(b *testing.B, format string, args ...any) {
	b.Helper()
	if out, err := exec.Command("sh", "-euc", fmt.Sprintf(format, args...)).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
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
