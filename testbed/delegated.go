package testbed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"labnet/lab/plan"
)

// What plugins have made is theirs. It is what is there after an ADD and was not before, and is kept with the attachments of
// the node. In a machine whose network is delegated to a program, all that no plan wanted since the last up is that program's.

func delegatedFile(node string) string { return filepath.Join(attachmentsOf(node), "delegated.json") }

func delegatedBy(node string) (keys []plan.Key, err error) {
	text, err := os.ReadFile(delegatedFile(node))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &keys)
	}
	if err != nil {
		return nil, fmt.Errorf("what the plugins of %s have made: %w", node, err)
	}
	return keys, nil
}

// entrust takes what the plugins and daemons that a plan wants have made for theirs.
func entrust(lab string, state, want *plan.State) error {
	in := map[string]bool{} // nodes, and the pods
	nodes := map[string]bool{}
	want.Each(func(o plan.Object) {
		if a, ok := o.(plan.Attachment); ok {
			in[a.Namespace], in[a.Into], nodes[a.Namespace] = true, true, true
		}
	})
	theirs := map[plan.Key]bool{}
	if machines := delegating(want); len(machines) > 0 {
		all, err := claimed(lab)
		if err != nil {
			return err
		}
		for machine := range machines {
			keys, known := all[machine]
			if !known {
				continue
			}
			state.In(machine, func(o plan.Object) {
				switch k := o.Key(); k.Kind {
				case plan.KindNamespace, plan.KindAttachment, plan.KindAgent, plan.KindConnection:
				default:
					theirs[k] = want.Get(k) == nil
				}
			})
			for _, k := range keys {
				delete(theirs, k)
			}
		}
	}
	for node := range nodes {
		keys, err := delegatedBy(node)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if in[k.Namespace] && want.Get(k) == nil {
				theirs[k] = true
			}
		}
	}
	for namespace := range in {
		state.In(namespace, func(o plan.Object) {
			if k := o.Key(); k.Kind == plan.KindSysctl && want.Get(k) == nil {
				theirs[k] = true // as the plugins tuning and portmap set it, also beside what they make
			}
		})
	}
	state.Entrust(theirs)
	return nil
}

// delegating lists the machines whose network a plan delegates to a program.
func delegating(s *plan.State) map[string]bool {
	all := map[string]bool{}
	s.Each(func(o plan.Object) {
		if a, ok := o.(plan.Agent); ok && a.Delegate {
			all[a.Namespace] = true
		}
	})
	return all
}

const claimName = "claimed.json"

// claimed is what plans have wanted of machines whose network is delegated, by machine.
func claimed(lab string) (keys map[string][]plan.Key, err error) {
	text, err := Kept(lab, claimName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &keys)
	}
	if err != nil {
		return nil, fmt.Errorf("what was planned of machines whose network is delegated: %w", err)
	}
	return keys, nil
}

// claim keeps what a plan wants of machines whose network it delegates, so that what another plan has left there is not taken
// for the program's. before is what there is before the lab is changed; nil when it has been: then nothing is left.
func claim(lab string, before, want *plan.State) error {
	prior, err := claimed(lab)
	if err != nil {
		return err
	}
	machines := delegating(want)
	if len(machines) == 0 && (before != nil || prior == nil) {
		return nil
	}
	all := map[string][]plan.Key{}
	for machine := range machines {
		keys := map[plan.Key]bool{}
		of := func(s *plan.State) { s.In(machine, func(o plan.Object) { keys[o.Key()] = true }) }
		of(want)
		if known, ok := prior[machine]; before != nil && ok {
			for _, k := range known {
				keys[k] = true
			}
		} else if before != nil {
			of(before)
		}
		all[machine] = slices.Collect(maps.Keys(keys))
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return Keep(lab, claimName, text)
}
