package traffic

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var searched = Search{Size: 64, Low: 5000, High: 1e6, Loss: 0.001, Trial: 80 * time.Millisecond, Steps: 9}

// pipe is a path that carries so many datagrams a second. In trials that are unlucky, which are numbered, the machine has
// something else to do: the sender is kept from sending, or the receiver from receiving.
func pipe(carries float64, unlucky func(trial int) bool) func(float64, time.Duration) (Delivery, error) {
	trial := -1
	return func(perSecond float64, window time.Duration) (d Delivery, err error) {
		trial++
		due := int64(perSecond * window.Seconds())
		d.Window, d.Offered, d.Received = window, due, int64(min(perSecond, carries)*window.Seconds())
		switch {
		case !unlucky(trial):
		case trial%2 == 0:
			d.Offered, d.Skipped = due/2, due-due/2
			d.Received = min(d.Received, d.Offered)
		default:
			d.Received /= 2
		}
		return d, nil
	}
}

func find(t *testing.T, carries float64, unlucky func(int) bool) Found {
	t.Helper()
	r, err := searched.find(time.Second, pipe(carries, unlucky))
	if err != nil {
		t.Fatal(err)
	}
	if most := tries * (searched.most() + confirmations); len(r.Trials) > most {
		t.Errorf("%d trials, more than the %d that there may be", len(r.Trials), most)
	}
	return r
}

func lucky(int) bool { return false }

// asked is the rate that a search came to.
func asked(r Found) float64 { return r.Trials[len(r.Trials)-1].PerSecond }

func TestSearch(t *testing.T) {
	for _, carries := range []float64{5000, 5001, 12345, 70_000, 71_000, 333_333, 900_000, 990_000} {
		r := find(t, carries, lucky)
		if rate := asked(r); rate > carries*1.001 || rate < carries/1.05 || !r.Confirmed || r.Limit != LimitedByPath {
			t.Errorf("of %g per second %g were found, confirmed: %v, limited by %s: %+v", carries, rate, r.Confirmed, r.Limit, r.Trials)
		}
	}
	if r := find(t, 2e6, lucky); asked(r) != searched.High || r.Limit != LimitedByBound || len(r.Trials) != 2 {
		t.Errorf("what is never the limit: %+v", r)
	}
	if r := find(t, 1000, lucky); r.Window != 0 || r.Confirmed || r.Limit != LimitedByPath {
		t.Errorf("less than the lowest rate: %+v", r)
	}
	if r := find(t, 1e6, func(trial int) bool { return trial >= 0 }); r.Window != 0 || r.Confirmed {
		t.Errorf("a machine that is never free: %+v", r)
	}
}

// A machine that is busy for a while, whenever that is, does not change what a search comes to. Only a rate that does not hold
// for the whole window, twice, may be lowered once.
func TestSearchHasBadLuck(t *testing.T) {
	for _, carries := range []float64{5000, 70_000, 900_000, 2e6} {
		want := find(t, carries, lucky)
		for length := 1; length <= 3; length++ {
			for from := range len(want.Trials) {
				r := find(t, carries, func(trial int) bool { return from <= trial && trial < from+length })
				if rate := asked(r); rate != asked(want) && !(length >= tries && rate == asked(want)*0.95) || !r.Confirmed {
					t.Errorf("of %g per second %g were found, not %g: trials %d to %d were unlucky", carries, rate, asked(want), from, from+length-1)
				}
			}
		}
	}
}

// On a machine that spoils every fourth trial, nearly all searches come to what they should.
func TestSearchOnABusyMachine(t *testing.T) {
	const searches = 1000
	for _, carries := range []float64{12345, 70_000, 900_000} {
		want, wrong := asked(find(t, carries, lucky)), 0
		for seed := range searches {
			random := rand.New(rand.NewPCG(1, uint64(seed)))
			if rate := asked(find(t, carries, func(int) bool { return random.IntN(4) == 0 })); math.Abs(rate/want-1) > 0.06 {
				wrong++
			}
		}
		if t.Logf("of %g per second: %d of %d are wrong", carries, wrong, searches); wrong > searches/20 {
			t.Errorf("of %g per second: %d of %d searches did not come to %g", carries, wrong, searches, want)
		}
	}
}

// What is tried for real lies between what passed and what failed before it, on a machine of any kind.
func TestFindRate(t *testing.T) {
	cfg := loopback("127.0.0.1", 100*time.Millisecond)
	f := Search{Size: 64, Low: 100, High: 5e6, Loss: 0.5, Trial: 50 * time.Millisecond, Steps: 6}
	r, err := FindRate(t.Context(), cfg, f)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Trials) < 3 || len(r.Trials) > tries*(f.most()+confirmations) || r.Limit == LimitedByBound {
		t.Fatalf("limited by %s after %+v", r.Limit, r.Trials)
	}
	passed := 0.0
	for _, trial := range r.Trials {
		if trial.Window == cfg.Window {
			continue
		}
		if trial.PerSecond <= passed || trial.PerSecond > f.High {
			t.Errorf("%g is tried where %g passed: %+v", trial.PerSecond, passed, r.Trials)
		}
		if trial.Passed {
			passed = trial.PerSecond
		}
		if due := int64(math.Round(trial.PerSecond * trial.Window.Seconds())); trial.Offered+trial.Skipped < due-1 || trial.Offered+trial.Skipped > due+1 {
			t.Errorf("%d offered and %d skipped, of %d", trial.Offered, trial.Skipped, due)
		}
	}
	if last := r.Trials[len(r.Trials)-1]; r.Confirmed != last.Passed && passed > 0 || last.Window != cfg.Window && passed > 0 {
		t.Errorf("confirmed: %v, by %+v", r.Confirmed, last)
	}
}
