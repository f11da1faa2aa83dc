package traffic

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStreams(t *testing.T) {
	for _, what := range []Streams{
		{Count: 3},
		{Count: 2, Direction: Reverse, Step: 50 * time.Millisecond},
		{Count: 2, Direction: Both, Step: 30 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%d in direction %d", what.Count, what.Direction), func(t *testing.T) {
			cfg := loopback("127.0.0.1", 200*time.Millisecond)
			r, err := RunStream(t.Context(), cfg, what)
			if err != nil {
				t.Fatal(err)
			}
			var bytes int64
			reverse := 0
			for _, f := range r.Flows {
				bytes += f.Bytes
				if f.Reverse {
					reverse++
				}
			}
			want := map[Direction][2]int{Forward: {what.Count, 0}, Reverse: {0, what.Count}, Both: {what.Count, what.Count}}[what.Direction]
			if got := [2]int{len(r.Flows) - reverse, reverse}; got != want {
				t.Errorf("flows each way: %v, not %v", got, want)
			}
			if r.Bytes <= 0 || bytes != r.Bytes || r.Sent != r.Received || r.Received <= r.Bytes {
				t.Errorf("%d bytes in flows, %d in all, %d sent, %d received", bytes, r.Bytes, r.Sent, r.Received)
			}
			if what.Step > 0 && (total(r.Series) != r.Bytes || len(r.Series.Counts) != int(math.Ceil(float64(cfg.Window)/float64(what.Step)))) {
				t.Errorf("%d bytes, in the series %v", r.Bytes, r.Series)
			}
			if r.Congestion != "cubic" || r.MSS < 1000 {
				t.Errorf("congestion control %q, MSS %d", r.Congestion, r.MSS)
			}
		})
	}
}

func TestLoaded(t *testing.T) {
	cfg := loopback("127.0.0.1", 300*time.Millisecond)
	r, load, err := RunLoaded(t.Context(), cfg, Requests{}, Streams{Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	if r.Count == 0 || r.Count != r.Latency.Count() || load.Bytes == 0 || len(load.Flows) != 2 || load.Sent != load.Received {
		t.Errorf("%d transactions, %d in the histogram, load %+v", r.Count, r.Latency.Count(), load)
	}
}

func TestConnections(t *testing.T) {
	for name, what := range map[string]Connections{
		"in order": {},
		"by reset": {Reset: true},
		"sizes":    {Size: 3000, Reply: 100000},
	} {
		for _, address := range []string{"127.0.0.1", "::1"} {
			t.Run(name+" "+address, func(t *testing.T) {
				what.Step = 100 * time.Millisecond
				cfg := loopback(address, 200*time.Millisecond)
				waiting := timeWait(t)
				r, err := RunConnections(t.Context(), cfg, what)
				if err != nil {
					t.Fatal(err)
				}
				if r.Count == 0 || r.Count != r.Latency.Count() || r.Count != total(r.Series) || r.Congestion != "cubic" {
					t.Errorf("%d connections, %d in the histogram, %v, %+v", r.Count, r.Latency.Count(), r.Series, r.Socket)
				}
				if now := timeWait(t); what.Reset && now > waiting+20 {
					t.Errorf("%d connections in TIME_WAIT became %d", waiting, now)
				}
			})
		}
	}
}

// timeWait returns how many connections of this namespace are in TIME_WAIT.
func timeWait(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var inuse, orphan int
		if _, err := fmt.Sscanf(line, "TCP: inuse %d orphan %d tw %d", &inuse, &orphan, &n); err == nil {
			return n
		}
	}
	t.Fatalf("no TCP in %s", text)
	return 0
}

func TestPackets(t *testing.T) {
	for _, size := range []int{16, 64, 512, 1400} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			cfg := loopback("127.0.0.1", 200*time.Millisecond)
			r, err := RunPackets(t.Context(), cfg, Packets{Size: size, PerSecond: 10000})
			if err != nil {
				t.Fatal(err)
			}
			// What is lost on loopback is lost in the sockets, and the kernel says so.
			if r.Offered+r.Skipped != 2000 || r.Lost() > r.Overflowed+r.Refused || r.Duplicates != 0 || r.Reordered != 0 {
				t.Errorf("%+v", r)
			}
			if r.Offered == 0 || r.Received != r.Delay.Count() || r.Delay.Percentile(50) <= 0 {
				t.Errorf("%d offered, %d received, %d in the histogram", r.Offered, r.Received, r.Delay.Count())
			}
			if r.Calls > r.Offered || r.Spun <= 0 || r.Spun > cfg.Warmup+cfg.Window {
				t.Errorf("%d calls for %d, spun for %s", r.Calls, r.Offered, r.Spun)
			}
		})
	}
}

// A sender that cannot keep up says so: it does not pretend to have offered what it was asked for.
func TestPacketsThatCannotBeOffered(t *testing.T) {
	r, err := RunPackets(t.Context(), loopback("127.0.0.1", 100*time.Millisecond), Packets{Size: 1400, PerSecond: 1e7})
	if err != nil {
		t.Fatal(err)
	}
	if r.Skipped < 100000 || r.Offered+r.Skipped != 1000000 || r.Received > r.Offered {
		t.Errorf("%d offered, %d skipped, %d received", r.Offered, r.Skipped, r.Received)
	}
}

func TestCohort(t *testing.T) {
	p, err := newPlan(Config{Warmup: 100 * time.Millisecond, Window: 100 * time.Millisecond}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if p.first != 100 || p.next != 200 || p.all != 220 || p.due(150) != 150*time.Millisecond || p.upto(150*time.Millisecond) != 151 {
		t.Fatalf("%+v", p)
	}
	c := newCohort(p)
	for _, number := range []int64{99, 100, 102, 101, 103, 103, 199, 200, 104, 210} {
		c.arrived(number)
	}
	if c.received != 6 || c.duplicates != 1 || c.reordered != 2 {
		t.Errorf("%d received, %d duplicates, %d reordered", c.received, c.duplicates, c.reordered)
	}
}

func TestSchedule(t *testing.T) {
	for name, what := range map[string]Schedule{
		"tcp":        {PerSecond: 2000},
		"tcp, sizes": {PerSecond: 500, Size: 30000, Reply: 50000},
		"udp":        {PerSecond: 2000, Protocol: UDP, Size: 64, Reply: 1400},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := loopback("127.0.0.1", 200*time.Millisecond)
			r, err := RunSchedule(t.Context(), cfg, what)
			for try := 1; err == nil && what.Protocol == UDP && r.Lost() > 0 && try < 5; try++ { // a server that gets no CPU for long
				r, err = RunSchedule(t.Context(), cfg, what)
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := int64(what.PerSecond / 5); r.Due != want || r.Lost() != 0 || r.Lag.Count() != want {
				t.Errorf("%d due, %d answered, %d sent, not %d", r.Due, r.Answered, r.Lag.Count(), want)
			}
			for _, h := range []*Histogram{r.Latency, r.Forward, r.Back} {
				if h.Count() != r.Answered {
					t.Errorf("%d answered, %d in a histogram", r.Answered, h.Count())
				}
			}
			// The parts of a request's way make the whole, so their averages do. The server's own time is the rest.
			parts := r.Lag.Mean() + r.Forward.Mean() + r.Back.Mean()
			if whole := r.Latency.Mean(); parts > whole+whole/100 {
				t.Errorf("%s on average, of which %s late, %s there and %s back", whole, r.Lag.Mean(), r.Forward.Mean(), r.Back.Mean())
			}
		})
	}
}

// A server that stalls once: who waits for an answer before asking again sees one long round trip; those who would have
// asked meanwhile see the rest of the stall, each its own.
func TestAStallIsNotOmitted(t *testing.T) {
	const stall = 100 * time.Millisecond
	cfg := loopback("127.0.0.1", 400*time.Millisecond)
	for _, protocol := range []Protocol{TCP, UDP} {
		answers := 0
		r, err := runSchedule(t.Context(), cfg, Schedule{Protocol: protocol, PerSecond: 1000}, func() {
			if answers++; answers == 120 { // 100 ms into the window
				time.Sleep(stall)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		// A hundred were due during the stall. Of the first half, each waited for half of it or longer.
		waited := int64(0)
		for _, p := range r.Latency.Pairs() {
			if time.Duration(p[0]) >= stall/2 {
				waited += p[1]
			}
		}
		if r.Lost() != 0 || waited < 49 {
			t.Errorf("protocol %d: %d lost; %d requests waited for %s or longer, not 50", protocol, r.Lost(), waited, stall/2)
		}
		if r.Latency.Max() < stall {
			t.Errorf("protocol %d: none waited for %s: the longest did for %s", protocol, stall, r.Latency.Max())
		}
	}
}

func TestHistogram(t *testing.T) {
	a, b := NewHistogram(), NewHistogram()
	for i := range 1000 {
		a.record(time.Duration(i+1) * time.Microsecond)
		b.record(time.Duration(i+1) * time.Millisecond)
	}
	b.record(time.Hour)
	b.record(-1)
	near := func(got, want time.Duration) bool { return math.Abs(float64(got-want)) <= float64(want)/1000 }
	if p := a.Percentile(99); !near(p, 990*time.Microsecond) {
		t.Errorf("p99 is %s", p)
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var c Histogram
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	for _, p := range []float64{0, 10, 50, 99, 100} {
		if b.Percentile(p) != c.Percentile(p) {
			t.Errorf("p%g was %s, is %s after JSON", p, b.Percentile(p), c.Percentile(p))
		}
	}
	if !slices.Equal(b.Pairs(), c.Pairs()) || c.Count() != 1002 || !near(c.Max(), 2*limit) {
		t.Errorf("%d became %d, the longest %s", b.Count(), c.Count(), c.Max())
	}
	a.Merge(b)
	if a.Count() != 2002 || !near(a.Percentile(50), time.Millisecond) {
		t.Errorf("%d together, half of them below %s", a.Count(), a.Percentile(50))
	}
	for _, text := range []string{`{}`, `[[1,-1]]`, `[[-1,1]]`, `[[99999999999999,1]]`} {
		if err := json.Unmarshal([]byte(text), &c); err == nil {
			t.Errorf("%s is taken for a histogram", text)
		}
	}
}

// The middle is the mean of what is left when the shortest and the longest quarter are taken away.
func TestMiddle(t *testing.T) {
	h := NewHistogram()
	if h.Middle() != 0 {
		t.Errorf("of nothing it is %s", h.Middle())
	}
	for _, us := range []int{1, 2, 100, 200, 300, 400, 100_000, 900_000} {
		h.record(time.Duration(us) * time.Microsecond)
	}
	if got, want := h.Middle(), 250*time.Microsecond; math.Abs(float64(got-want)) > float64(want)/1000 {
		t.Errorf("it is %s, not %s", got, want)
	}
}

// TestBefore: a thread that goes before others does so on its CPU, while it works, and where that is permitted.
func TestBefore(t *testing.T) {
	priority := func() uint32 {
		attr, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return attr.Priority
	}
	may := MayGoBefore()
	for _, before := range []bool{false, true} {
		err := pinned(First(), before, func() error {
			if got := priority() > 0; got != (before && may) {
				t.Errorf("before others: %v, asked for %v, permitted %v", got, before, may)
			}
			return nil
		})
		if err != nil || priority() != 0 {
			t.Errorf("%v, and then priority %d", err, priority())
		}
	}
}

// What other CPUs work on is counted; that of the CPU itself is not.
func TestParseSoftirqs(t *testing.T) {
	text := "                    CPU0       CPU2       \n          HI:          1          2\n      NET_TX:         10        200\n      NET_RX:       1000      30000\n"
	for cpu, want := range map[int]int64{0: 30200, 2: 1010, 1: 31210} {
		if got, err := parseSoftirqs([]byte(text), cpu); err != nil || got != want {
			t.Errorf("but for CPU %d: %d, %v; want %d", cpu, got, err, want)
		}
	}
	for _, text := range []string{"", "CPU0\nNET_RX: 1\n", "CPU0\nNET_RX: x\nNET_TX: 1\n"} {
		if _, err := parseSoftirqs([]byte(text), 0); err == nil {
			t.Errorf("%q is parsed", text)
		}
	}
}

func TestParseStat(t *testing.T) {
	c, err := parseStat([]byte("cpu  100 2 300 9999 50 6 70 8 30 0\ncpu0 50 1 150 4999 25 3 35 4 15 0\n"))
	want := CPU{User: time.Second, Nice: 20 * time.Millisecond, System: 3 * time.Second, IRQ: 60 * time.Millisecond,
		SoftIRQ: 700 * time.Millisecond, Steal: 80 * time.Millisecond}
	if err != nil || c != want {
		t.Errorf("%+v, %v", c, err)
	}
	if c.Busy() != 4780*time.Millisecond || c.Per(2) != 2.39 {
		t.Errorf("%s busy, %g for each of two", c.Busy(), c.Per(2))
	}
	for _, text := range []string{"", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2", "cpu a b c d e f g h"} {
		if _, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q is parsed", text)
		}
	}
}

// A thread that only computes must be in the account, for as long as the window.
func TestCPU(t *testing.T) {
	cfg := loopback("127.0.0.1", 500*time.Millisecond)
	s := newSession(t.Context(), cfg)
	s.add(end{side: cfg.Client, work: func() error {
		for now() < s.stop() {
		}
		return nil
	}})
	r, err := s.run()
	if err != nil {
		t.Fatal(err)
	}
	// On a machine that others use too, it gets less than all of its CPU, and they use the rest of it.
	if busy := r.CPU.Busy() + r.CPU.Steal; busy < cfg.Window/4 || r.CPU.User+r.CPU.Nice <= 0 {
		t.Errorf("%s of CPU time in %s: %+v", busy, cfg.Window, r.CPU)
	}
	cfg.Idle = CPU{User: time.Second, Steal: time.Second}
	s = newSession(t.Context(), cfg)
	s.add(end{side: cfg.Client, work: func() error { time.Sleep(cfg.Takes()); return nil }})
	if r, err = s.run(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	cpus := strings.Count(string(text), "\ncpu") // of the machine: the test may have fewer
	if most := time.Duration(cpus-1)*cfg.Window + 50*time.Millisecond; r.CPU.User > most || r.CPU.Steal < 0 {
		t.Errorf("without a baseline of a second each second: %+v", r.CPU)
	}
}

func TestMeasureIdle(t *testing.T) {
	c, err := MeasureIdle(t.Context(), 50*time.Millisecond)
	if err != nil || c.Busy() < 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWhatCannotBe(t *testing.T) {
	cfg := loopback("127.0.0.1", 50*time.Millisecond)
	errs := map[string]error{}
	_, errs["udp request"] = RunTransactions(t.Context(), cfg, Requests{Protocol: UDP, Size: 7})
	_, errs["depth"] = RunTransactions(t.Context(), cfg, Requests{Depth: -1})
	_, errs["connection"] = RunConnections(t.Context(), cfg, Connections{Size: -1})
	_, errs["packet"] = RunPackets(t.Context(), cfg, Packets{Size: 15, PerSecond: 1000})
	_, errs["rate"] = RunPackets(t.Context(), cfg, Packets{Size: 64})
	_, errs["none in the window"] = RunPackets(t.Context(), cfg, Packets{Size: 64, PerSecond: 1})
	_, errs["request"] = RunSchedule(t.Context(), cfg, Schedule{Size: 31, PerSecond: 1000})
	_, errs["search"] = FindRate(t.Context(), cfg, Search{Low: 2, High: 1, Steps: 1, Trial: time.Second})
	for name, err := range errs {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
