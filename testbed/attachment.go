package testbed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"labnet/lab/plan"
	"labnet/testbed/cni"
)

var attachmentKind = inside[plan.Attachment]{
	reads: readAttachments,
	sets: func(a *applier, v *visit, o, _ plan.Attachment) error {
		mtu := func(device string) (int, error) {
			in, err := a.visits.to(o.Into)
			if err != nil {
				return 0, err
			}
			l, err := in.LinkByName(device)
			if err != nil {
				return 0, err
			}
			return l.Attrs().MTU, nil
		}
		_, err := pluginsOf(o.Namespace).Add(a.ctx, o, netnsOf(o.Into), mtu)
		return err
	},
	removes: func(a *applier, v *visit, o plan.Attachment) error {
		// The kernel's answer that something is gone would be taken for the plugins'.
		if _, err := pluginsOf(o.Namespace).Del(a.ctx, o.Pod, netnsOf(o.Into)); err != nil {
			return fmt.Errorf("%v", err)
		}
		return nil
	},
}

// readAttachments reads those of a node from what its plugins have answered, and asks the plugins about those that are wanted.
func readAttachments(r *reader, v *visit, f *found) error {
	if !f.machine {
		return nil
	}
	node := pluginsOf(v.place.Name)
	all, err := node.Records()
	if err != nil {
		return err
	}
	for _, record := range all {
		o := record.Attachment
		if r.want.Get(o.Key()) == plan.Object(o) {
			if err := node.Check(context.Background(), record, netnsOf(o.Into)); err != nil {
				o.Fault = strings.Join(strings.Fields(err.Error()), " ")
			}
		}
		f.add(o)
	}
	return nil
}

// Attached are the answers of the plugins of a lab's nodes that are still what the plan asks of them.
func Attached(want *plan.State) (map[plan.Key]plan.Attached, error) {
	nodes := map[string]bool{}
	want.Each(func(o plan.Object) {
		if a, ok := o.(plan.Attachment); ok {
			nodes[a.Namespace] = true
		}
	})
	attached := map[plan.Key]plan.Attached{}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		all, err := pluginsOf(name).Records()
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			if r.Done && want.Get(r.Attachment.Key()) == plan.Object(r.Attachment) {
				attached[r.Attachment.Key()] = r.Attached
			}
		}
	}
	return attached, nil
}

// UsualPlugins says how to get the usual CNI plugins, where they are missing.
func UsualPlugins() (remedy string) { return cni.Usual() }

// Plugins are the executables that a plan needs; it is an error where one is missing.
func Plugins(s *plan.State) ([]string, error) {
	files := map[string]bool{}
	var errs []error
	seen := map[string]bool{}
	s.Each(func(o plan.Object) {
		a, ok := o.(plan.Attachment)
		if !ok {
			return
		}
		config, err := a.Wanted()
		if err == nil {
			var found []string
			found, err = cni.Executables(config)
			for _, file := range found {
				files[file] = true
			}
		}
		if err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			errs = append(errs, err)
		}
	})
	return slices.Sorted(maps.Keys(files)), errors.Join(errs...)
}

// detach ends a node's attachments before it goes. When a plugin does not end nothing more is asked of any: what they have
// made in the kernel goes with the namespaces.
func detach(ctx context.Context, namespace string) error {
	node := pluginsOf(namespace)
	all, err := node.Records()
	for _, r := range all {
		_, more := node.Del(ctx, r.Attachment.Pod, netnsOf(r.Attachment.Into))
		if err = errors.Join(err, more); errors.Is(more, cni.ErrTimeout) {
			break
		}
	}
	return err
}
