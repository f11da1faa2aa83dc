package browser

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
)

//go:embed axe/axe.min.js.gz
var axe []byte

// Axe lists what axe-core finds wrong with the page as it is shown: the rule, what it says, and the first elements that break it.
func (b *Page) Axe() []string {
	b.t.Helper()
	var present bool
	if b.Eval(`"axe" in window`, &present); !present {
		z, err := gzip.NewReader(bytes.NewReader(axe))
		if err != nil {
			b.t.Fatal(err)
		}
		script, err := io.ReadAll(z)
		if err != nil {
			b.t.Fatal(err)
		}
		b.Eval(string(script)+"; 0", nil)
	}
	var answer struct {
		Result struct{ Value json.RawMessage }
	}
	b.Call("Runtime.evaluate", Arguments{"awaitPromise": true, "returnByValue": true, "expression": `axe.run().then(r => r.violations.map(v =>
		({rule: v.id, help: v.help, nodes: v.nodes.map(n => n.target.join(" ") + ": " + n.html.slice(0, 120) + " " + n.failureSummary)})))`}, &answer)
	var violations []struct {
		Rule, Help string
		Nodes      []string
	}
	if err := json.Unmarshal(answer.Result.Value, &violations); err != nil {
		b.t.Fatalf("axe-core: %v: %s", err, answer.Result.Value)
	}
	found := []string{}
	for _, v := range violations {
		found = append(found, fmt.Sprintf("%s: %s, %d times: %q", v.Rule, v.Help, len(v.Nodes), v.Nodes[:min(len(v.Nodes), 3)]))
	}
	return found
}
