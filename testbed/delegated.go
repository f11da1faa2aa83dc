package testbed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"labnet/lab/plan"
)

// What plugins have made is theirs: it is found when they have ended, as what is there and was not planned.

const delegatedName = "delegated.json"

// delegates are the namespaces in which plugins make something.
func delegates(want *plan.State) map[string]bool {
	in := map[string]bool{}
	want.Each(func(o plan.Object) {
		if a, ok := o.(plan.Attachment); ok {
			in[a.Namespace], in[a.Into] = true, true
		}
	})
	return in
}

// entrust takes what the plugins of a lab have made for theirs.
func entrust(lab string, state, want *plan.State) error {
	in := delegates(want)
	if len(in) == 0 {
		return nil
	}
	text, err := Kept(lab, delegatedName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var keys []plan.Key
	if err == nil {
		err = json.Unmarshal(text, &keys)
	}
	if err != nil {
		return fmt.Errorf("what the plugins of lab %s have made: %w", lab, err)
	}
	theirs := map[plan.Key]bool{}
	for _, k := range keys {
		if in[k.Namespace] && want.Get(k) == nil {
			theirs[k] = true
		}
	}
	state.Entrust(theirs)
	return nil
}
