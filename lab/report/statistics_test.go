package report

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 5}, 5}, {[]float64{9, 1, 5, 6}, 5.5}} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median of %v is %v, not %v", tt.values, got, tt.want)
		}
	}
}

// The ranks are those of the usual tables of the sign test's interval at 95 %.
func TestMedianInterval(t *testing.T) {
	for n, k := range map[int]int{1: 0, 3: 0, 5: 0, 6: 1, 7: 1, 8: 1, 9: 2, 10: 2, 11: 2, 12: 3, 14: 3, 15: 4, 16: 4, 17: 5, 20: 6, 25: 8, 30: 10, 50: 18} {
		values := make([]float64, n)
		for i, v := range rand.Perm(n) {
			values[i] = float64(v + 1)
		}
		low, high, ok := medianInterval(values)
		if ok != (k > 0) || ok && (low != float64(k) || high != float64(n+1-k)) {
			t.Errorf("n=%d: %v to %v, %v; want the ranks %d and %d", n, low, high, ok, k, n+1-k)
		}
	}
}

func TestWilcoxon(t *testing.T) {
	// signs puts the ranks 1…n in order, the listed ones negative.
	signs := func(n int, negative ...int) []float64 {
		d := make([]float64, n)
		for i := range d {
			d[i] = float64(i + 1)
		}
		for _, r := range negative {
			d[r-1] *= -1
		}
		return d
	}
	for _, tt := range []struct {
		name string
		d    []float64
		want float64
	}{
		{"nothing", nil, 1},
		{"only zeros", []float64{0, 0, 0}, 1},
		{"one", signs(1), 1},
		{"n=5, all agree", signs(5), 2. / 32},
		{"n=6, all agree", signs(6), 2. / 64},
		{"n=6, all against", signs(6, 1, 2, 3, 4, 5, 6), 2. / 64},
		{"n=6, zeros left out", append(signs(6), 0, 0), 2. / 64},
		{"n=6, W=1", signs(6, 1), 4. / 64},
		// Critical values at 0.05, two-sided, of the usual tables: 3 for 8, 8 for 10, 52 for 20.
		{"n=8, W=3", signs(8, 3), 10. / 256},
		{"n=8, W=4", signs(8, 4), 14. / 256},
		{"n=10, W=8", signs(10, 8), 50. / 1024},
		{"n=10, W=9", signs(10, 9), 66. / 1024},
		{"n=20, W=52", signs(20, 20, 19, 13), 2 * 25397. / (1 << 20)},
		{"n=20, W=53", signs(20, 20, 19, 14), 2 * 27876. / (1 << 20)},
		{"half and half", signs(4, 1, 4), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := wilcoxon(tt.d); !near(got, tt.want) {
				t.Errorf("p = %v, want %v", got, tt.want)
			}
		})
	}
}

// With ties there are no tables, but all patterns of signs can be tried.
func TestWilcoxonTies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := 1 + rng.IntN(9)
		sizes := make([]float64, n)
		for i := range sizes {
			sizes[i] = float64(1 + rng.IntN(4))
		}
		rank := func(i int) (r float64) {
			for _, s := range sizes {
				if s < sizes[i] {
					r++
				} else if s == sizes[i] {
					r += 0.5
				}
			}
			return r + 0.5
		}
		statistic := func(pattern int) (less float64) {
			var plus, minus float64
			for i := range n {
				if pattern>>i&1 == 1 {
					plus += rank(i)
				} else {
					minus += rank(i)
				}
			}
			return min(plus, minus)
		}
		pattern := rng.IntN(1 << n)
		as := 0
		for other := range 1 << n {
			if statistic(other) <= statistic(pattern) {
				as++
			}
		}
		d := make([]float64, n)
		for i := range d {
			d[i] = sizes[i]
			if pattern>>i&1 == 0 {
				d[i] *= -1
			}
		}
		if want := float64(as) / float64(int(1)<<n); !near(wilcoxon(d), min(1, want)) {
			t.Errorf("%v: p = %v, want %v", d, wilcoxon(d), want)
		}
	}
}

func TestHolm(t *testing.T) {
	// R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
	got := holm([]float64{0.01, 0.04, 0.03, 0.005})
	for i, want := range []float64{0.03, 0.06, 0.06, 0.02} {
		if !near(got[i], want) {
			t.Errorf("%d: %v, want %v", i, got[i], want)
		}
	}
	if got := holm([]float64{0.6, 0.7}); got[0] != 1 || got[1] != 1 {
		t.Errorf("no p is above 1: %v", got)
	}
}

func TestRoundsToTell(t *testing.T) {
	for others, want := range map[int]int{1: 6, 2: 7, 3: 7, 4: 8, 7: 9, 25: 10} {
		if got := roundsToTell(others); got != want {
			t.Errorf("%d modes beside the baseline: %d rounds, want %d", others, got, want)
		}
	}
}
