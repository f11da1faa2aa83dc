package testbed

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"

	"labnet/lab/plan"
)

// observed calls f, which makes plugins attach a pod, and keeps what is new after it in the pod and its node.
func observed(ctx context.Context, o plan.Attachment, f func() error) error {
	before, err := holds(ctx, o)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	after, err := holds(ctx, o)
	if err != nil {
		return err
	}
	known, err := delegatedBy(o.Namespace)
	if err != nil {
		return err
	}
	keys := slices.DeleteFunc(known, func(k plan.Key) bool {
		return (k.Namespace == o.Namespace || k.Namespace == o.Into) && !after[k]
	})
	for k := range after {
		if !before[k] && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	text, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	file := delegatedFile(o.Namespace)
	if err := os.WriteFile(file+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// holds is what there is in a pod and its node, besides attachments.
func holds(ctx context.Context, o plan.Attachment) (map[plan.Key]bool, error) {
	lab, _, _ := strings.Cut(o.Namespace, ".")
	state, err := read(ctx, lab, []string{o.Namespace, o.Into}, &plan.State{})
	if err != nil {
		return nil, err
	}
	keys := map[plan.Key]bool{}
	state.Each(func(o plan.Object) {
		if k := o.Key(); k.Kind != plan.KindAttachment {
			keys[k] = true
		}
	})
	return keys, nil
}
