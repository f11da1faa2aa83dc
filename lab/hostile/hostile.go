// Package hostile makes wrong definitions out of right ones, for tests: whatever stands in an attribute, nothing may panic or
// hang, and every mistake has its place.
package hostile

import (
	"fmt"
	"hash/fnv"
	"iter"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
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
	`var.hostile_missing`, `local.hostile_missing`, `nobody.home`, `nothing(1)`, `each.value`, `count.index`, `"no-such-name"`, `["no-such-name"]`,
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
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		panic(diags)
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
	return func(yield func(Mutant) bool) {
		for _, at := range places {
			for _, v := range values {
				text := string(src[:at.Start.Byte]) + v + string(src[at.End.Byte:]) + declared
				if !yield(Mutant{fmt.Sprintf("%s:%d:%d %.40s", name, at.Start.Line, at.Start.Column, v), []byte(text)}) {
					return
				}
			}
		}
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
