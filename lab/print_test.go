package lab_test

import (
	"strings"
	"testing"
	"time"

	"labnet/lab"
	"labnet/lab/hostile"
)

// TestPrintIsBounded: however long the lines of a file are, and however many mistakes it has, what is said about them is
// short, shows the place and is said soon.
func TestPrintIsBounded(t *testing.T) {
	many := func(n int, s string) string { return strings.Repeat(s, n) }
	for name, src := range map[string]string{
		"one line":        `locals { a = [` + many(50_000, `var.x, `) + `] }`,
		"one long place":  "locals {\n a = [\n" + many(50_000, "1,\n") + "] + 1\n}",
		"many lines":      many(400_000, "\n") + many(200, "node \"x\" { }\n"),
		"one long string": `switch "x" { subnet = "` + many(16_000, "é") + `" }`,
		"nothing":         many(1<<20+1, "\x00"),
	} {
		start := hostile.Worked()
		_, files, diags := lab.Load("x.hcl", []byte("lab \"x\" {}\n"+src), lab.Inputs{})
		text := print(t, files, diags)
		if d := hostile.Worked() - start; d > 10*time.Second {
			t.Errorf("%s: took %s", name, d)
		}
		if len(diags) == 0 || len(diags) > 100 || len(text) > 100_000 {
			t.Errorf("%s: %d mistakes in %d bytes", name, len(diags), len(text))
		}
		if !strings.Contains(text, "on x.hcl line") {
			t.Errorf("%s: no place:\n%.500s", name, text)
		}
	}
}
