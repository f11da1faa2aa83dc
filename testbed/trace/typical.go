package trace

import "labnet/lab/plan"

// Pair is two ends.
type Pair struct {
	Title    string
	From, To Target
}

// Typical are the pairs whose packets show what a mode does: two pods of one node, and pods of two nodes. A lab may have
// neither.
func Typical(c *plan.Cluster) []Pair {
	var pairs []Pair
	all := c.Endpoints()
	find := func(title string, is func(from, to plan.Endpoint) bool) {
		for _, from := range all {
			for _, to := range all {
				if from.Pod != nil && to.Pod != nil && from.Pod != to.Pod && from.Address.Is6() == to.Address.Is6() && is(from, to) {
					pairs = append(pairs, Pair{title, Target{Title: from.Title, Namespace: from.Namespace}, Target{Title: to.Title, Namespace: to.Namespace, Address: to.Address}})
					return
				}
			}
		}
	}
	find("On one node", func(from, to plan.Endpoint) bool { return from.Node == to.Node })
	find("From node to node", func(from, to plan.Endpoint) bool { return from.Node != to.Node })
	return pairs
}
