package lab

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const reference = "../docs/language.md"

// The reference is complete: it names every block, attribute and function there is.
func TestReferenceIsComplete(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	mentioned := func(what, name string) {
		if !regexp.MustCompile("`" + regexp.QuoteMeta(name) + "[` (]").Match(text) {
			t.Errorf("%s does not mention the %s %q", reference, what, name)
		}
	}
	var walk func(s *shape)
	walk = func(s *shape) {
		for _, a := range s.attrs {
			mentioned("attribute", a)
		}
		for name, inner := range s.blocks {
			mentioned("block", name)
			walk(inner)
		}
	}
	walk(file)
	for name := range (&loader{}).functions() {
		mentioned("function", name)
	}
	for _, word := range append(paths, measures...) {
		mentioned("word", `"`+word+`"`)
	}
}

// Its examples are HCL in the usual layout, and each is a whole lab, or would be one with a name.
func TestReferenceExamples(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) == 0 {
		t.Fatal("no examples")
	}
	for _, e := range examples {
		formatted, diags := Format("example.hcl", []byte(e[1]))
		if len(diags) > 0 || string(formatted) != e[1] {
			t.Errorf("%v, or not laid out:\n%s", diags, e[1])
		}
		src := e[1]
		if !strings.HasPrefix(src, "lab \"") {
			src = "lab \"example\" {}\n" + src
		}
		if _, _, diags := Load("example.hcl", []byte(src), Inputs{}); len(diags) > 0 {
			t.Errorf("%v in\n%s", diags, src)
		}
	}
}

// Every example of a function is right.
func TestReferenceFunctions(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?m)\\| `([^`]+)` = `([^`]+)` \\|$").FindAllStringSubmatch(string(text), -1)
	if len(examples) < 40 {
		t.Fatalf("only %d examples are found", len(examples))
	}
	for _, e := range examples {
		got, err := evaluate(t, e[1], Inputs{})
		want, wrong := evaluate(t, e[2], Inputs{})
		if err != nil || wrong != nil || got != want {
			t.Errorf("%s is %s, %v; the reference says %s, %v", e[1], got, err, want, wrong)
		}
	}
}
