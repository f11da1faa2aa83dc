package check

import (
	"context"
	"strings"

	"labnet/testbed"
)

// plugins asks the lab's CNI plugins what they say of their pods and nodes.
func (r *run) plugins(ctx context.Context) (checks []Check, err error) {
	verdicts, err := testbed.AskPlugins(ctx, r.plan.State)
	for _, v := range verdicts {
		node := v.Of.Namespace[strings.IndexByte(v.Of.Namespace, '.')+1:]
		c := Check{Name: Plugin, From: node, To: node, OK: v.Err == nil, Expected: "STATUS: the plugins of the node are ready"}
		if v.Pod {
			c.To += "/" + v.Of.Pod
			c.Expected = "CHECK: the pod is as the plugins made it"
		}
		if v.Err != nil {
			c.Seen = strings.Join(strings.Fields(v.Err.Error()), " ")
			c.Detail = "\"lab up\" attaches a pod anew for which CHECK fails"
			if !v.Pod {
				c.Detail = "A runtime would not start pods on this node"
			}
		}
		checks = append(checks, c)
	}
	return checks, err
}
