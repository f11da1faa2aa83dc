package check

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"labnet/lab/plan"
)

// pair is a sender and a receiver of one family, by their place in the list of endpoints.
type pair struct{ from, to int }

// choose returns the pairs to try, in the order of the endpoints, and how many there are. Up to limit it is all of them.
// From more it takes a sample, always the same: at first what shows every node as sender and as receiver, across the
// underlay and on its own, then pairs picked by a generator with a fixed seed.
func choose(ends []plan.Endpoint, limit int) (chosen []pair, total int) {
	families := [][]int{nil, nil}
	for i, e := range ends {
		f := 0
		if e.Address.Is6() {
			f = 1
		}
		families[f] = append(families[f], i)
	}
	for _, list := range families {
		own := map[string]int{} // how many addresses each has
		for _, i := range list {
			own[ends[i].Namespace]++
		}
		for _, i := range list {
			if !ends[i].Also {
				total += len(list) - own[ends[i].Namespace]
			}
		}
	}
	taken := map[pair]bool{}
	take := func(from, to int) {
		p := pair{from, to}
		if ends[from].Namespace != ends[to].Namespace && !ends[from].Also && len(chosen) < limit && !taken[p] {
			taken[p] = true
			chosen = append(chosen, p)
		}
	}
	if total <= limit {
		for _, list := range families {
			for _, from := range list {
				for _, to := range list {
					take(from, to)
				}
			}
		}
	} else {
		cover(ends, families, take)
		for random := rand.New(rand.NewPCG(1, 2)); len(chosen) < limit; {
			// Both ends of one family: the second is drawn from the first one's.
			first := random.IntN(len(ends))
			list := families[0]
			if ends[first].Address.Is6() {
				list = families[1]
			}
			take(first, list[random.IntN(len(list))])
		}
	}
	slices.SortFunc(chosen, func(a, b pair) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	return chosen, total
}

// cover takes, for every node, pairs of each kind: to the next node and on the node itself, between pods, from a node and
// to a node; and in turn with these, for every address of a machine, the pair from the machine before it and the one back. The
// most telling kind comes first, in case not all fit.
func cover(ends []plan.Endpoint, families [][]int, take func(from, to int)) {
	type place struct {
		node int
		pods []int
	}
	var rings [][]place
	var machines []pair
	for _, list := range families {
		var ring []place
		for _, i := range list {
			switch {
			case ends[i].Pod != nil:
				ring[len(ring)-1].pods = append(ring[len(ring)-1].pods, i)
			case !ends[i].Also:
				ring = append(ring, place{node: i})
			}
		}
		at := -1
		for _, i := range list {
			if ends[i].Pod != nil {
				continue
			}
			if !ends[i].Also {
				at++
			}
			before := ring[(at+len(ring)-1)%len(ring)].node
			machines = append(machines, pair{before, i})
			if !ends[i].Also {
				machines = append(machines, pair{i, before})
			}
		}
		rings = append(rings, slices.DeleteFunc(ring, func(p place) bool { return len(p.pods) == 0 }))
	}
	var pods []pair
	each := func(f func(here, next place) pair) {
		for _, ring := range rings {
			for i := range ring {
				pods = append(pods, f(ring[i], ring[(i+1)%len(ring)]))
			}
		}
	}
	each(func(here, next place) pair { return pair{here.pods[0], next.pods[len(next.pods)-1]} })
	each(func(here, _ place) pair { return pair{here.pods[0], here.pods[len(here.pods)-1]} })
	each(func(here, next place) pair { return pair{here.node, next.pods[0]} })
	each(func(here, next place) pair { return pair{here.pods[0], next.node} })
	each(func(here, _ place) pair { return pair{here.node, here.pods[0]} })
	each(func(here, _ place) pair { return pair{here.pods[0], here.node} })
	for i := range max(len(pods), len(machines)) {
		if i < len(pods) {
			take(pods[i].from, pods[i].to)
		}
		if i < len(machines) {
			take(machines[i].from, machines[i].to)
		}
	}
}
