package testbed

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"labnet/lab/plan"
	"labnet/testbed/cni"
)

// Verdict is what CNI plugins say when they are asked: of a pod, whether it is as they made it, or of a node, whether they could
// attach one.
type Verdict struct {
	Of  plan.Attachment
	Pod bool
	Err error
}

// AskPlugins asks the plugins of a lab: CHECK for each pod, STATUS for each node.
func AskPlugins(ctx context.Context, s *plan.State) ([]Verdict, error) {
	records := map[plan.Key]cni.Record{}
	nodes := map[string]plan.Attachment{}
	var all []Verdict
	for _, a := range Attachments(s) {
		if _, known := nodes[a.Namespace]; !known {
			nodes[a.Namespace] = a
			of, err := pluginsOf(a.Namespace).Records()
			if err != nil {
				return nil, err
			}
			for _, r := range of {
				records[r.Attachment.Key()] = r
			}
		}
		all = append(all, Verdict{Of: a, Pod: true})
	}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		all = append(all, Verdict{Of: nodes[name]})
	}
	next := make(chan *Verdict)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for v := range next {
				node := pluginsOf(v.Of.Namespace)
				switch r, attached := records[v.Of.Key()]; {
				case !v.Pod:
					v.Err = node.Status(ctx, v.Of)
				case !attached:
					v.Err = errors.New("it is not attached")
				default:
					v.Err = node.Check(ctx, r, netnsOf(v.Of.Into))
				}
			}
		})
	}
	for i := range all {
		next <- &all[i]
	}
	close(next)
	wait.Wait()
	return all, ctx.Err()
}
