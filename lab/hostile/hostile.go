// Package hostile makes wrong definitions out of right ones, for tests: whatever stands in an attribute, nothing may panic or
// hang, and every mistake has its place.
package hostile

import (
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"golang.org/x/sys/unix"
)

// values are put in the place of every expression, and what they need is declared at the end.
var values = []string{
	// null, in its guises
	`null`, `var.hostile_null`, `local.hostile_null`, `(var.hostile_null == null ? null : "x")`, `toset(null)`, `[null]`, `var.hostile_nulls`,
	`["10.0.0.1", null]`, `{ a = null }`, `"${null}"`,
	// another type
	`true`, `"x"`, `12`, `3.7`, `[]`, `{}`, `[[]]`, `toset(["a", "b"])`, `{ a = 1 }`, `[1, "a", true]`,
	// nothing, too little, too much
	`""`, `" "`, `0`, `-1`, `65536`, `1e300`, `-1e300`, `99999999999999999999`, `range(20000)`, `"0%"`, `"0ms"`, `"99999999999h"`, `"1e99gbit"`,
	`"0.0.0.0/0"`, `"::/0"`, `"fd00:1::/32"`, `"10.0.0.0/31"`, `"255.255.255.255"`, `"fe80::1%eth0"`, `["10.9.0.0/16", "fd09::/32"]`, `"` + strings.Repeat("a", 300) + `"`,
	// names that nothing has
	`var.hostile_missing`, `local.hostile_missing`, `nobody.home`, `nothing(1)`, `each.value`, `count.index`, `node.hostile`, `switch.lan`, `host`, `"no-such-name"`, `["no-such-name"]`,
}

const declared = `
variable "hostile_null" { default = null }
variable "hostile_nulls" { default = [null] }
locals {
  hostile_null = var.hostile_null
}
`

// Mutant is a definition in which one expression was replaced.
type Mutant struct {
	Name string // what stands where
	Text []byte
}

// Mutants replaces each expression of a definition, also those inside others, by each of the values.
func Mutants(name string, src []byte) iter.Seq[Mutant] {
	return func(yield func(Mutant) bool) {
		for _, at := range expressions(name, src) {
			for _, v := range values {
				m := replace(src, at, v)
				m.Text = append(m.Text, declared...)
				if !yield(m) {
					return
				}
			}
		}
	}
}

// Several replaces several expressions, chosen at random.
func Several(random *rand.Rand, name string, src []byte) Mutant {
	all := Mutant{Text: append(slices.Clone(src), declared...)}
	for range 2 + random.IntN(3) {
		places := expressions(name, all.Text)
		if len(places) == 0 {
			break // what was put there ends a string
		}
		m := replace(all.Text, places[random.IntN(len(places))], values[random.IntN(len(values))])
		all.Name, all.Text = all.Name+" "+m.Name, m.Text
	}
	return all
}

// expressions finds all expressions of a definition; there are none where it is no HCL.
func expressions(name string, src []byte) []hcl.Range {
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil
	}
	var places []hcl.Range
	seen := map[hcl.Range]bool{}
	_ = hclsyntax.VisitAll(file.Body.(*hclsyntax.Body), func(n hclsyntax.Node) hcl.Diagnostics {
		if e, ok := n.(hclsyntax.Expression); ok && !seen[e.Range()] {
			seen[e.Range()] = true
			places = append(places, e.Range())
		}
		return nil
	})
	return places
}

func replace(src []byte, at hcl.Range, by string) Mutant {
	return Mutant{
		Name: fmt.Sprintf("%s:%d:%d %.40s", at.Filename, at.Start.Line, at.Start.Column, by),
		Text: slices.Concat(src[:at.Start.Byte], []byte(by), src[at.End.Byte:]),
	}
}

// Sampled reports whether a mutant is one of every so many, always the same ones; with LAB_SOAK=1 each is.
func (m Mutant) Sampled(every uint32) bool {
	if os.Getenv("LAB_SOAK") == "1" {
		return true
	}
	h := fnv.New32a()
	h.Write([]byte(m.Name))
	return h.Sum32()%every == 0
}

// Worked is the time that the processors have worked for this process, whatever else they do.
func Worked() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
