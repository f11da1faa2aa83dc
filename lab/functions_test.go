package lab

import (
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"
	"golang.org/x/sys/unix"
)

// evaluate loads a definition whose local "x" is the expression, and returns it as it would be typed.
func evaluate(t *testing.T, expression string, in Inputs) (string, error) {
	t.Helper()
	src := "lab \"x\" {\n  about = jsonencode(local.x)\n}\nlocals {\n  x = " + expression + "\n}\n"
	l, _, diags := Load("x.hcl", []byte(src), in)
	if diags.HasErrors() {
		return "", diags
	}
	return l.About, nil
}

// TestFunctions holds the functions whose meaning is ours, or Terraform's where the library's differs.
func TestFunctions(t *testing.T) {
	for _, tt := range []struct{ expression, want string }{
		{`length("größe")`, `5`},
		{`length({ a = 1, b = 2 })`, `2`},
		{`length([])`, `0`},
		{`lookup({ a = 1 }, "a")`, `1`},
		{`lookup({ a = 1 }, "b", 2)`, `2`},
		{`lookup(tomap({ a = "1" }), "b", null)`, `null`},
		{`lookup({ a = 1 }, "b")`, `error: no key "b"`},
		{`index(["a", "b"], "b")`, `1`},
		{`index(["a"], "c")`, `error: does not hold it`},
		{`contains(["a", "b"], "b")`, `true`},
		{`contains([1, 2], 3)`, `false`},
		{`contains(toset(["a"]), "a")`, `true`},
		{`distinct(["b", "a", "b"])`, `["b","a"]`},
		{`distinct([])`, `[]`},
		{`sum([1, 2, 3.5])`, `6.5`},
		{`sum([])`, `0`},
		{`sum(["1", 2])`, `3`},
		{`sum(["a"])`, `error: only numbers`},
		{`one([])`, `null`},
		{`one(["a"])`, `"a"`},
		{`one(toset(["a"]))`, `"a"`},
		{`one([1, 2])`, `error: 2 elements`},
		{`alltrue([true, "true"])`, `true`},
		{`alltrue([])`, `true`},
		{`alltrue([true, false])`, `false`},
		{`anytrue([false, null])`, `false`},
		{`anytrue([false, true])`, `true`},
		{`anytrue(["x"])`, `error: true or false`},
		{`matchkeys(["n1", "n2", "n3"], ["a", "b", "a"], ["a"])`, `["n1","n3"]`},
		{`matchkeys(["n1"], ["a", "b"], ["a"])`, `error: 1 values and 2 keys`},
		{`transpose({ a = ["x", "y"], b = ["x"] })`, `{"x":["a","b"],"y":["a"]}`},
		{`cidrsubnets("10.1.0.0/16", 4, 4, 8, 4)`, `["10.1.0.0/20","10.1.16.0/20","10.1.32.0/24","10.1.48.0/20"]`},
		{`cidrsubnets("fd00::/48", 16, 16)`, `["fd00::/64","fd00:0:0:1::/64"]`},
		{`cidrsubnets("10.0.0.0/30", 1, 1, 1)`, `error: no room left`},
		{`cidrsubnets("255.255.255.0/24", 1, 1, 1)`, `error: no room left`},
		{`cidrsubnets("10.0.0.0/30", 3)`, `error: can be extended by 1 to 2 bits`},
		{`cidrcontains("10.42.0.0/16", "10.42.7.0/24")`, `true`},
		{`cidrcontains("10.42.0.0/24", "10.42.0.0/16")`, `false`},
		{`cidrcontains("10.42.0.0/16", "10.43.0.1")`, `false`},
		{`cidrcontains("10.42.0.0/16", "pods")`, `error: neither an address nor a network`},
		{`replace("a.b.c", ".", "-")`, `"a-b-c"`},
		{`replace("a1b22", "/[0-9]+/", "#")`, `"a#b#"`},
		{`base64decode(base64encode("größe"))`, `"größe"`},
		{`base64decode("!")`, `error: not base64`},
		{`sha1("lab")`, `"3953f9ddf975ab5097ee468d99555c5b441169bf"`},
		{`startswith("node1", "node")`, `true`},
		{`endswith("node1", "2")`, `false`},
		{`strcontains("node1", "de")`, `true`},
		{`try({}.a, "default")`, `"default"`},
		{`can({}.a)`, `false`},
		{`yamldecode("a: [1, 2]")`, `{"a":[1,2]}`},
		{`yamldecode("a: &x [1]\nb: *x")`, `error: anchors`},
		{`tonumber("7") + 1`, `8`},
		{`formatlist("%s-%02d", ["a", "b"], 7)`, `["a-07","b-07"]`},
		{`merge([for r in ["a", "b"] : { (r) = length(r) }]...)`, `{"a":1,"b":1}`},
		{`file("x")`, `error: from the folder of the definition`},
		{`printf("%s", 1)`, `error: "format"`},
		{`cidrsubnetz("10.0.0.0/8")`, `error: "cidrsubnet"`},
		{`uuid()`, `error: whenever and wherever`},
		{`frobnicate()`, `error: docs/language.md`},
	} {
		got, err := evaluate(t, tt.expression, Inputs{})
		wrong, fails := strings.CutPrefix(tt.want, "error: ")
		if fails != (err != nil) || fails && !strings.Contains(err.Error(), wrong) || !fails && got != tt.want {
			t.Errorf("%s = %s, %v; want %s", tt.expression, got, err, tt.want)
		}
	}
}

// TestFiles: a definition reads what lies beside it, and nothing else; a lab that was made from files is made again without.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("about.txt", "ten racks")
	write("hello.tmpl", "${name} has %{ for n in nodes }(${n})%{ endfor }")
	write("self.tmpl", `${templatefile("self.tmpl", {})}`)
	write("deep.tmpl", strings.Repeat("${[", 5000))
	write("long.txt", strings.Repeat("x", maxString+1))
	write("binary", "\xff\xfe")
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ expression, want string }{
		{`file("about.txt")`, `"ten racks"`},
		{`file("./about.txt")`, `"ten racks"`},
		{`templatefile("hello.tmpl", { name = "rack", nodes = ["a", "b"] })`, `"rack has (a)(b)"`},
		{`templatefile("hello.tmpl", {})`, `error: hello.tmpl:1`},
		{`templatefile("self.tmpl", {})`, `error: no function named`},
		{`templatefile("deep.tmpl", {})`, `error: too deep`},
		{`templatefile("about.txt", 7)`, `error: a map or an object`},
		{`file("../about.txt")`, `error: in the folder of the definition`},
		{`file("/etc/hostname")`, `error: in the folder of the definition`},
		{`file("link")`, `error: in the folder of the definition`},
		{`file(".")`, `error: not a regular file`},
		{`file("nothing")`, `error: no such file`},
		{`file("long.txt")`, `error: more than`},
		{`file("binary")`, `error: not text`},
	} {
		got, err := evaluate(t, tt.expression, Inputs{Dir: dir})
		wrong, fails := strings.CutPrefix(tt.want, "error: ")
		if fails != (err != nil) || fails && !strings.Contains(err.Error(), wrong) || !fails && got != tt.want {
			t.Errorf("%s = %s, %v; want %s", tt.expression, got, err, tt.want)
		}
	}
	src := []byte("lab \"x\" {\n  about = file(\"about.txt\")\n}\n")
	first, _, diags := Load("x.hcl", src, Inputs{Dir: dir})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	again, _, diags := Load("x.hcl", src, Inputs{Texts: first.Texts})
	if diags.HasErrors() || again.About != "ten racks" {
		t.Errorf("%v, %v", again, diags)
	}
}

// TestFunctionsAreBounded calls every function with large values, and with LAB_SOAK=1 with the largest that a definition can
// hold: each call ends within seconds of the processor's time and does not fill the memory, whatever it says. What grows
// with the square of its arguments would take longer.
func TestFunctionsAreBounded(t *testing.T) {
	n, limit := 6000, 2*time.Second
	if os.Getenv("LAB_SOAK") != "" {
		n, limit = maxRange, 8*time.Second
	}
	texts, numbers, pairs := make([]cty.Value, n), make([]cty.Value, n), map[string]cty.Value{}
	for i := range texts {
		texts[i], numbers[i] = cty.StringVal(fmt.Sprintf("t%d", i)), cty.NumberIntVal(int64(i))
		pairs[fmt.Sprintf("k%d", i)] = texts[i]
	}
	lists := make([]cty.Value, 200)
	for i := range lists {
		lists[i] = cty.ListVal(texts[:200])
	}
	large := map[string]cty.Value{
		"text":    cty.StringVal(strings.Repeat("abcdefgh", maxString/8)),
		"lines":   cty.StringVal(strings.Repeat("\n", maxString)),
		"digits":  cty.StringVal(strings.Repeat("9", maxString)),
		"json":    cty.StringVal(strings.Repeat("[", maxString/2) + strings.Repeat("]", maxString/2)),
		"yaml":    cty.StringVal(strings.Repeat("- ", maxString/2)),
		"texts":   cty.ListVal(texts),
		"numbers": cty.ListVal(numbers),
		"set":     cty.SetVal(texts),
		"lists":   cty.ListVal(lists),
		"map":     cty.MapVal(pairs),
		"huge":    cty.NumberVal(new(big.Float).SetMantExp(big.NewFloat(1), maxExp-2)),
		"million": cty.NumberIntVal(1e6),
	}
	text, spec, pattern, number, groups := cty.StringVal("x"), cty.StringVal("%s"), cty.StringVal("/(.*)/"), cty.NumberIntVal(1), cty.StringVal("$1$1$1")
	for name, f := range functions() {
		t.Run(name, func(t *testing.T) {
			try := func(what string, args ...cty.Value) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := spent()
				_, _ = f.Call(args)
				used := spent() - start
				runtime.ReadMemStats(&after)
				if used > limit {
					t.Errorf("%s takes %s", what, used)
				}
				if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 500 {
					t.Errorf("%s allocates %d MiB", what, mb)
				}
			}
			for kind, v := range large {
				try(kind, v)
				try(kind+" twice", v, v)
				try(kind+" thrice", v, v, v)
				try(kind+" and a text", v, text)
				try("a text and "+kind, text, v)
				try(kind+" formatted", spec, v)
				try(kind+" and a number", v, number)
				try("a number and "+kind, number, v)
				try(kind+" replaced", v, pattern, groups)
				try(kind+" in a replacement", text, text, v)
			}
		})
	}
}

// spent is the processor's time of this program, which other programs do not lengthen.
func spent() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
