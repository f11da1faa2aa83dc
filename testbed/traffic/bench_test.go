package traffic

import (
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The engine must not be what limits a measurement, so it is held against what is written in C: over the same path, on the
// same CPUs, in turn. One pair of runs is one ratio; the interval is of their median.

// BenchmarkStream holds one stream against iperf3's, with the same congestion control.
func BenchmarkStream(b *testing.B) {
	against(b, "iperf3", "Gbit/s", func(b *testing.B, cfg Config) float64 {
		r, err := RunStream(b.Context(), cfg, Streams{})
		if err != nil {
			b.Fatal(err)
		}
		return r.Goodput()
	}, iperf3)
}

// BenchmarkTransactions holds one request at a time against sockperf's, of the same size.
func BenchmarkTransactions(b *testing.B) {
	for name, protocol := range map[string]Protocol{"tcp": TCP, "udp": UDP} {
		b.Run(name, func(b *testing.B) {
			against(b, "sockperf", "transactions/s", func(b *testing.B, cfg Config) float64 {
				r, err := RunTransactions(b.Context(), cfg, Requests{Protocol: protocol, Size: message, Reply: message})
				if err != nil {
					b.Fatal(err)
				}
				return r.Rate()
			}, func(b *testing.B, cfg Config, left, right []string) float64 {
				return sockperf(b, cfg, protocol, left, right)
			})
		})
	}
}

// pairs is how many pairs of runs an iteration makes.
const pairs = 5

// against runs both in turn, on loopback and across a cable; the other program is started with what leads into a namespace.
func against(b *testing.B, program, unit string, engine func(*testing.B, Config) float64,
	other func(b *testing.B, cfg Config, left, right []string) float64) {
	if _, err := exec.LookPath(program); err != nil {
		b.Skipf("no %s to compare with", program)
	}
	compare := func(b *testing.B, cfg Config, left, right []string) {
		cfg.Warmup = 200 * time.Millisecond
		var ours, theirs, ratios []float64
		for b.Loop() {
			for i := range pairs {
				var one, two float64
				if i%2 == 0 {
					one, two = engine(b, cfg), other(b, cfg, left, right)
				} else {
					two = other(b, cfg, left, right)
					one = engine(b, cfg)
				}
				ours, theirs, ratios = append(ours, one), append(theirs, two), append(ratios, one/two)
			}
		}
		median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
		low, high := interval(ratios)
		b.ReportMetric(median(ours), unit)
		b.ReportMetric(median(theirs), program+"-"+unit)
		b.ReportMetric(median(ratios), "of-"+program)
		b.ReportMetric(low, "low")
		b.ReportMetric(high, "high")
		b.ReportMetric(0, "ns/op")
		if high < 1 {
			b.Errorf("with 95 %% confidence the engine reaches %.3f to %.3f of %s", low, high, program)
		}
	}
	b.Run("loopback", func(b *testing.B) { compare(b, loopback("127.0.0.1", 800*time.Millisecond), nil, nil) })
	b.Run("veth", func(b *testing.B) {
		cfg, left, right := veth(b, 800*time.Millisecond)
		compare(b, cfg, []string{"ip", "netns", "exec", left}, []string{"ip", "netns", "exec", right})
	})
}

// interval returns between which of the values the median lies with 95 % confidence: exactly, whatever their distribution.
// Of fewer than six, none would be enough.
func interval(v []float64) (low, high float64) {
	slices.Sort(v)
	n := len(v)
	cut := 0
	for below, ways := 0.0, 1.0; cut < n/2; cut++ {
		below += ways / math.Pow(2, float64(n))
		if 2*below > 0.05 {
			break
		}
		ways = ways * float64(n-cut) / float64(cut+1)
	}
	if cut == 0 {
		return math.Inf(-1), math.Inf(1)
	}
	return v[cut-1], v[n-cut]
}

func TestInterval(t *testing.T) {
	v := make([]float64, 0, 20)
	for n, want := range map[int][2]float64{5: {math.Inf(-1), math.Inf(1)}, 6: {1, 6}, 9: {2, 8}, 15: {4, 12}, 20: {6, 15}} {
		v = v[:0]
		for i := range n {
			v = append(v, float64(n-i))
		}
		if low, high := interval(v); [2]float64{low, high} != want {
			t.Errorf("of %d values: %g to %g, not %v", n, low, high, want)
		}
	}
}

// start starts a program on a CPU, and returns how to end it.
func start(b *testing.B, prefix []string, cpu int, format string, args ...any) (stop func()) {
	b.Helper()
	c := command(prefix, cpu, format, args...)
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	return func() { _ = c.Process.Kill(); _ = c.Wait() }
}

func command(prefix []string, cpu int, format string, args ...any) *exec.Cmd {
	words := slices.Clone(prefix)
	if cpu != Unpinned {
		words = append(words, "taskset", "-c", strconv.Itoa(cpu))
	}
	words = append(words, strings.Fields(fmt.Sprintf(format, args...))...)
	return exec.Command(words[0], words[1:]...)
}

func iperf3(b *testing.B, cfg Config, left, right []string) float64 {
	b.Helper()
	const port = 15201
	at := cfg.Server.Addr
	defer start(b, right, cfg.Server.CPU, "iperf3 -s -1 -p %d -B %s", port, at)()
	var out []byte
	for range 50 { // until the server listens; with -J a refused connection is a document too
		out, _ = command(left, cfg.Client.CPU, "iperf3 -c %s -p %d -t 1 -C %s -P 1 -J", at, port, cfg.Congestion).Output()
		var result struct {
			End struct {
				Received struct {
					Rate float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			}
		}
		if err := json.Unmarshal(out, &result); err == nil && result.End.Received.Rate > 0 {
			return result.End.Received.Rate / 1e9
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.Fatalf("iperf3: %s", out)
	return 0
}

// message is the shortest that sockperf sends.
const message = 14

func sockperf(b *testing.B, cfg Config, protocol Protocol, left, right []string) float64 {
	b.Helper()
	const port = 15202
	flags := map[Protocol]string{TCP: "--tcp", UDP: ""}[protocol]
	at := cfg.Server.Addr
	defer start(b, right, cfg.Server.CPU, "sockperf server %s -i %s -p %d", flags, at, port)()
	var out []byte
	for range 50 { // until the server listens
		out, _ = command(left, cfg.Client.CPU, "sockperf ping-pong %s -i %s -p %d -t 1 -m %d", flags, at, port, message).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			var seconds float64
			var sent, received int
			_, after, _ := strings.Cut(line, "[Valid Duration] ")
			if _, err := fmt.Sscanf(after, "RunTime=%f sec; SentMessages=%d; ReceivedMessages=%d", &seconds, &sent, &received); err == nil && received > 0 {
				return float64(received) / seconds
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.Fatalf("sockperf: %s", out)
	return 0
}
