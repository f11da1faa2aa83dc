package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"labnet/lab"
)

// outputValues are the outputs of a definition by name, as JSON.
func outputValues(outputs []lab.Output) (map[string]json.RawMessage, error) {
	values := map[string]json.RawMessage{}
	for _, o := range outputs {
		v, err := o.JSON()
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", o.Name, err)
		}
		values[o.Name] = v
	}
	return values, nil
}

// showOutputs writes outputs as a definition would have them.
func showOutputs(w io.Writer, outputs []lab.Output) {
	if len(outputs) == 0 {
		return
	}
	fmt.Fprintln(w, "Outputs:")
	for _, o := range outputs {
		fmt.Fprintf(w, "  %s = %s\n", o.Name, strings.ReplaceAll(o.Text(), "\n", "\n  "))
	}
}
