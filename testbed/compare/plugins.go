package compare

import (
	"context"
	"fmt"
	"slices"
	"time"

	"labnet/lab/plan"
	"labnet/testbed"
)

// sideBySide is how many pods a runtime attaches at once, where there are that many.
const sideBySide = 16

// attachments measures how long CNI plugins work for a pod, one pod after the other and several at once. add is told each number.
func attachments(ctx context.Context, p *plan.Plan, add func(measure, metric, params string, ms float64)) error {
	all := testbed.Attachments(p.State)
	for _, atOnce := range []int{1, min(sideBySide, len(all))} {
		if len(all) == 0 {
			break
		}
		dels, adds, err := testbed.Reattach(ctx, all, atOnce)
		if err != nil {
			return fmt.Errorf("attaching the pods again, %d at once: %w", atOnce, err)
		}
		for _, of := range []struct {
			measure string
			took    []time.Duration
		}{{"cni-add", adds}, {"cni-del", dels}} {
			slices.Sort(of.took)
			for _, p := range []int{50, 99} {
				rank := (len(of.took)*p+99)/100 - 1
				add(of.measure, fmt.Sprintf("p%d of the pods", p), fmt.Sprintf("at-once=%d", atOnce), micros(of.took[rank])/1e3)
			}
		}
		if len(all) == 1 {
			break
		}
	}
	return nil
}
