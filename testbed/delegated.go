package testbed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"labnet/lab/plan"
)

// What plugins have made is theirs. It is what is there after an ADD and was not before, and is kept with the attachments of
// the node.

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

// entrust takes what the plugins have made that a plan wants for theirs.
func entrust(state, want *plan.State) error {
	in := map[string]bool{} // nodes, and the pods
	nodes := map[string]bool{}
	want.Each(func(o plan.Object) {
		if a, ok := o.(plan.Attachment); ok {
			in[a.Namespace], in[a.Into], nodes[a.Namespace] = true, true, true
		}
	})
	theirs := map[plan.Key]bool{}
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
	state.Entrust(theirs)
	return nil
}
