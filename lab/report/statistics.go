package report

import (
	"cmp"
	"math"
	"slices"
)

// confidence of every interval, and one minus the error that every family of tests keeps to.
const (
	confidence = 0.95
	alpha      = 1 - confidence
)

// median returns the middle of the values, which it leaves as they are.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// medianInterval returns the exact interval for the median that assumes nothing of the distribution: from the k-th
// smallest value to the k-th largest, for the largest k with which that covers the median often enough. The number of
// values below the median is binomial, so an interval that leaves out k-1 values on either side misses it with twice the
// chance of fewer than k heads among n coins. Below 6 values not even all of them suffice, and ok is false.
//
// The interval is symmetric in the ranks, so that it means the same for a ratio and for its inverse.
func medianInterval(values []float64) (low, high float64, ok bool) {
	n := len(values)
	k, below := 0, 0.0
	for term := math.Pow(0.5, float64(n)); k < n/2; k++ { // term is the chance of exactly k heads
		if below += term; 2*below > alpha {
			break
		}
		term *= float64(n-k) / float64(k+1)
	}
	if k == 0 {
		return 0, 0, false
	}
	v := slices.Sorted(slices.Values(values))
	return v[k-1], v[n-k], true
}

// wilcoxon is the exact two-sided signed-rank test: how likely differences at least as lopsided as these are, when either
// sign is as likely as the other. Zeros say nothing and are left out; equal sizes share the mean of their ranks. The
// distribution is counted rather than approximated, ties and all.
func wilcoxon(differences []float64) (p float64) {
	d := slices.DeleteFunc(slices.Clone(differences), func(v float64) bool { return v == 0 })
	slices.SortFunc(d, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	n := len(d)
	ranks := make([]int, n) // twice the rank, so that a shared one is whole
	for i := 0; i < n; {
		j := i
		for j < n && math.Abs(d[j]) == math.Abs(d[i]) {
			j++
		}
		for k := i; k < j; k++ {
			ranks[k] = i + 1 + j
		}
		i = j
	}
	most, positive := 0, 0
	for i, r := range ranks {
		most += r
		if d[i] > 0 {
			positive += r
		}
	}
	// chance[s] is the chance that the positive ranks add up to s.
	chance := make([]float64, most+1)
	chance[0] = 1
	for _, r := range ranks {
		for s := most; s >= 0; s-- {
			chance[s] /= 2
			if s >= r {
				chance[s] += chance[s-r] / 2
			}
		}
	}
	for s := 0; s <= min(positive, most-positive); s++ {
		p += 2 * chance[s]
	}
	return min(p, 1)
}

// holm corrects the p values of a family of tests: when nothing differs, the chance that any of them falls below alpha
// stays below alpha.
func holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	adjusted := make([]float64, len(p))
	least := 0.0
	for i, at := range order {
		least = max(least, min(1, p[at]*float64(len(p)-i)))
		adjusted[at] = least
	}
	return adjusted
}

// roundsToTell returns how many rounds it takes before so many modes can differ from their baseline at all: when every
// round agrees, the test's p is two out of all the 2ⁿ patterns of signs, and the correction multiplies it.
func roundsToTell(others int) int {
	n := MinRounds
	for math.Pow(2, float64(1-n))*float64(others) > alpha {
		n++
	}
	return n
}
