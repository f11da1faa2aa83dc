package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"labnet/lab"
)

// outputs are the values that a definition shows.
type outputs []lab.Output

// MarshalJSON makes one object of them, by name.
func (o outputs) MarshalJSON() ([]byte, error) {
	values := map[string]json.RawMessage{}
	for _, out := range o {
		v, err := out.JSON()
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", out.Name, err)
		}
		values[out.Name] = v
	}
	return json.Marshal(values)
}

// show writes them as a definition would have them.
func (o outputs) show(w io.Writer) {
	if len(o) == 0 {
		return
	}
	fmt.Fprintln(w, "Outputs:")
	for _, out := range o {
		fmt.Fprintf(w, "  %s = %s\n", out.Name, strings.ReplaceAll(out.Text(), "\n", "\n  "))
	}
}
