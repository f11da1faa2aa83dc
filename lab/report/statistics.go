package report

import (
	"cmp"
	"math"
	"math/rand/v2"
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

// draws is how many comparisons detectable imagines, and power the share of them that must find the difference.
const (
	draws = 200
	power = 0.8
)

// detectable returns the smallest shift of the differences that the signed-rank test at this level would have found in
// four of five comparisons with noise like theirs. The noise is that of the differences about their median, drawn anew
// with either sign; by how much a draw has to be shifted until the test finds it is known without trying, since the test
// rejects exactly when few enough of the means of all pairs lie below zero. The draws are the same every time.
//
// It is not ok where the test at this level could not find anything, since even rounds that all agree are too few.
func detectable(differences []float64, level float64) (shift float64, ok bool) {
	n := len(differences)
	below := mostBelow(n, level)
	if below < 0 {
		return 0, false
	}
	middle, shrunk := median(differences), math.Sqrt(float64(n)/float64(n-1))
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	needed := make([]float64, draws)
	drawn, least := make([]float64, n), make([]float64, below+1) // the smallest means of pairs, ascending
	for d := range needed {
		for i := range least {
			least[i] = math.Inf(1)
		}
		for i := range drawn {
			drawn[i] = (differences[rng.IntN(n)] - middle) * shrunk
			if rng.IntN(2) == 0 {
				drawn[i] = -drawn[i]
			}
			for j := range i + 1 {
				mean := (drawn[i] + drawn[j]) / 2
				at := below
				for ; at >= 0 && mean < least[at]; at-- {
					if at < below {
						least[at+1] = least[at]
					}
					least[at] = mean
				}
			}
		}
		needed[d] = -least[below]
	}
	slices.Sort(needed)
	return max(0, needed[int(power*draws)]), true
}

// mostBelow returns the largest sum of the ranks of one sign with which the signed-rank test of n differences without ties
// still has a p below the level; it is -1 where not even none will do.
func mostBelow(n int, level float64) int {
	chance := make([]float64, n*(n+1)/2+1)
	chance[0] = math.Pow(0.5, float64(n))
	for r := 1; r <= n; r++ {
		for s := len(chance) - 1; s >= r; s-- {
			chance[s] += chance[s-r]
		}
	}
	p := 0.0
	for s := range chance {
		if p += 2 * chance[s]; p >= level {
			return s - 1
		}
	}
	return -1
}

// shuffles is how often relabelled deals the labels anew.
const shuffles = 2000

// relabelled returns, for each of several kinds of numbers and each label but the first, the chance that any label of any
// kind would differ from the first as clearly as this one of this kind does, if the labels meant nothing. It holds over
// all of them together, however they depend on each other: what was measured in a round keeps its values, and the labels
// are dealt anew for the round, to all kinds at once. How clearly a label differs is the sum of its rounds' differences
// over the root of the sum of their squares, which is Student's t in other words. The deals are the same every time.
//
// values holds kind, round, label; a NaN is a number that was not measured, and its round says nothing of that label.
func relabelled(values [][][]float64) [][]float64 {
	kinds := len(values)
	if kinds == 0 {
		return nil
	}
	count, labels := len(values[0]), len(values[0][0])
	clear := func(kind, label int, deal [][]int) float64 {
		var sum, squares, n float64
		for round, v := range values[kind] {
			d := v[deal[round][label]] - v[deal[round][0]]
			if math.IsNaN(d) {
				continue
			}
			sum, squares, n = sum+d, squares+d*d, n+1
		}
		if squares == 0 {
			return 0
		}
		return math.Abs(sum) / math.Sqrt(squares*n)
	}
	deal := make([][]int, count)
	for round := range deal {
		deal[round] = make([]int, labels)
		for label := range deal[round] {
			deal[round][label] = label
		}
	}
	seen, p := make([][]float64, kinds), make([][]float64, kinds)
	for k := range seen {
		seen[k], p[k] = make([]float64, labels), make([]float64, labels)
		for l := range seen[k] {
			seen[k][l], p[k][l] = clear(k, l, deal), 1 // what was seen is one of the deals
		}
	}
	rng := rand.New(rand.NewPCG(2, uint64(count)))
	for range shuffles {
		for round := range deal {
			rng.Shuffle(labels, func(i, j int) { deal[round][i], deal[round][j] = deal[round][j], deal[round][i] })
		}
		clearest := 0.0
		for k := range values {
			for l := 1; l < labels; l++ {
				clearest = max(clearest, clear(k, l, deal))
			}
		}
		for k := range p {
			for l := range p[k] {
				if clearest >= seen[k][l]*(1-1e-12) { // the same sum in another order
					p[k][l]++
				}
			}
		}
	}
	for k := range p {
		for l := range p[k] {
			p[k][l] /= shuffles + 1
		}
	}
	return p
}
