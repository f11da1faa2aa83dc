package lab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"labnet/lab"
	"labnet/lab/hostile"
)

// Texts made to hurt: each would overflow the stack, fill the memory or take minutes if nothing were bounded.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	many := func(n int, s string) string { return strings.Repeat(s, n) }
	each := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "#", fmt.Sprint(i)))
		}
		return b.String()
	}
	tests := []struct{ name, src string }{
		{"parentheses", "locals {\n a = " + many(400_000, "(")},
		{"brackets", "locals {\n a = " + many(200_000, "[") + many(200_000, "]") + "\n}"},
		{"blocks", many(200_000, "a {\n")},
		{"objects", "locals {\n a = " + many(100_000, "{\n a = ")},
		{"unary", "locals {\n a = " + many(900_000, "-") + "1\n}"},
		{"not", "locals {\n a = " + many(900_000, "!") + "true\n}"},
		{"unary on lines", "locals {\n a = (" + many(400_000, "-\n") + "1)\n}"},
		{"sum", "locals {\n a = 1" + many(400_000, "+1") + "\n}"},
		{"conditional", "locals {\n a = " + many(200_000, "true?1:") + "1\n}"},
		{"index", "locals {\n a = [1]\n b = local.a" + many(200_000, "[0]") + "\n}"},
		{"index by name", "locals {\n a = [1]\n b = local.a" + many(200_000, "[local.a]") + "\n}"},
		{"splat", "locals {\n a = [1]\n b = local.a" + many(200_000, "[*]") + "\n}"},
		{"attribute splat", "locals {\n a = [1]\n b = local.a" + many(200_000, ".*") + "\n}"},
		{"dots", "locals {\n a = local" + many(200_000, ".a") + "\n}"},
		{"templates", "locals {\n a = " + many(100_000, `"${`) + "\n}"},
		{"directives", "locals {\n a = \"" + many(100_000, "%{ if true }") + "\"\n}"},
		{"closed directives", "locals {\n a = \"" + many(50_000, "%{ if true }") + many(50_000, "%{ endif }") + "\"\n}"},
		{"loops in a template", "locals {\n a = \"" + many(8, "%{ for x in range(1000) }") + "x" + many(8, "%{ endfor }") + "\"\n}"},
		{"heredocs", "locals {\n a = " + many(100_000, "<<E\n${")},
		{"calls", "locals {\n a = " + many(100_000, "max(")},
		{"labels", "a" + many(200_000, ` "b"`) + " {}\n"},
		{"digits", "locals {\n a = " + many(900_000, "1") + "\n}"},
		{"fraction", "locals {\n a = 0." + many(900_000, "1") + "\n}"},
		{"exponents", "locals {\n a = [" + many(50_000, "1e999999999,") + "]\n}"},
		{"fors", "locals {\n a = " + many(9, "[for x in range(10000) : ") + "1" + many(9, "]") + "\n}"},
		{"conditions", "locals {\n a = [for x in range(10000) : 1 if length([for y in range(10000) : y]) > 0]\n}"},
		{"doubling lists", "locals {\n a0 = [1, 2]\n" + doubling(64, "a%d = concat(local.a%d, local.a%[2]d)") + "}"},
		{"doubling tuples", "locals {\n a0 = [1, 2]\n" + doubling(64, "a%d = [local.a%d, local.a%[2]d]") + "}"},
		{"doubling objects", "locals {\n a0 = {}\n" + doubling(64, "a%d = { x = local.a%d, y = local.a%[2]d }") + "}"},
		{"doubling strings", "locals {\n a0 = \"xx\"\n" + doubling(64, `a%d = "${local.a%d}${local.a%[2]d}"`) + "}"},
		{"squaring numbers", "locals {\n a0 = 10\n" + doubling(64, "a%d = local.a%d * local.a%[2]d") + " z = \"${local.a64}\"\n}"},
		{"doubling formats", "locals {\n a0 = \"%s%s\"\n" + doubling(64, "a%d = format(local.a%d, local.a%[2]d, local.a%[2]d)") + "}"},
		{"one text many times", "locals {\n a = format(\"%0999d\", 1)\n b = [" + many(40_000, `"${local.a}!",`) + "]\n}"},
		{"one verb many times", "locals {\n a = format(\"%0999d\", 1)\n b = format(\"" + many(60_000, "%[1]s") + "\", local.a)\n}"},
		{"many locals", "locals {\n" + each(60_000, "a# = 1\n") + "}"},
		{"chain of locals", "locals {\n a0 = 1\n" + doubling(30_000, "a%d = local.a%d") + "}"},
		{"chain of lists", "locals {\n a0 = 1\n" + doubling(30_000, "a%d = [local.a%d]") + "}"},
		{"cycle of locals", "locals {\n a0 = local.a30000\n" + doubling(30_000, "a%d = local.a%d") + "}"},
		{"many variables", each(20_000, "variable \"a#\" {}\n")},
		{"large default", "variable \"a\" {\n type = map(string)\n default = {\n" + each(60_000, "a# = #\n") + "}\n}"},
		{"mixed default", "variable \"a\" {\n type = list(any)\n default = [" + many(60_000, `1, [], `) + "]\n}"},
		{"deep type", "variable \"a\" {\n type = " + many(100_000, "list(") + "\n}"},
		{"large set", "locals {\n a = toset([" + each(60_000, "#, ") + "])\n}"},
		{"for_each over a large set", "node \"n\" {\n for_each = toset([for i in range(20000) : format(\"%d\", i)])\n}"},
		{"many switches", each(10_000, "switch \"a#\" {\n subnet = \"10.0.0.0/8\"\n}\n")},
		{"many machines", "switch \"s\" {\n subnet = \"10.0.0.0/8\"\n}\n" + each(9_000, "node \"a#\" {\n count = 4096\n on \"s\" {}\n pods = 1024\n}\n")},
		{"many interfaces", each(300, "switch \"s#\" {\n subnet = \"10.#.0.0/24\"\n}\n") + "node \"n\" {\n count = 4096\n" + each(300, "on \"s#\" {}\n") + "}\n"},
		{"many unknown switches", each(10_000, "switch \"a#\" {\n subnet = \"10.0.0.0/8\"\n}\n") + "node \"n\" {\n" + each(30_000, "on \"b#\" {}\n") + "}\n"},
		{"many times no switch", "node \"n\" {\n count = 4096\n" + each(50_000, "on \"b#\" {}\n") + "}\n"},
		{"many routes", "switch \"s\" {\n subnet = \"10.0.0.0/8\"\n}\nnode \"n\" {\n count = 4096\n on \"s\" {}\n" + each(12_000, "route {\n to = \"11.0.0.0/32\"\n via = \"10.0.0.1\"\n}\n") + "}\n"},
		{"different routes", "switch \"s\" {\n subnet = \"10.0.0.0/8\"\n}\nnode \"n\" {\n count = 4096\n on \"s\" {}\n" + each(12_000, "route {\n to = \"fd00::#/128\"\n via = \"fd01::1\"\n}\n") + "}\n"},
		{"many pods", "node \"n\" {\n count = 4096\n" + each(30_000, "pod \"p#\" {}\n") + "}\n"},
		{"many VLANs", "switch \"s\" {\n subnet = \"10.0.0.0/8\"\n" + each(1024, "vlan \"#\" {}\n") + "}\nhost \"h\" {\n count = 4096\n on \"s\" { trunk = range(1, 1024) }\n}\n"},
		{"many switches of few blocks", "switch \"s\" {\n count = 4096\n subnet = cidrsubnet(\"10.0.0.0/8\", 16, count.index)\n}\n" + each(9, "switch \"t#\" {\n for_each = toset([for i in range(4096) : format(\"%d\", i)])\n subnet = \"11.0.0.0/8\"\n}\n")},
		{"many VLANs of few blocks", "switch \"s\" {\n count = 4096\n subnet = \"10.0.0.0/8\"\n dynamic \"vlan\" {\n for_each = range(4096)\n labels = [vlan.key]\n content {}\n}\n}\n"},
		{"many interfaces of few blocks", "switch \"s\" {\n subnet = \"10.0.0.0/8\"\n}\nnode \"n\" {\n count = 4096\n" + each(300, "dynamic \"on\" {\n for_each = range(4096)\n labels = [\"s\"]\n content {}\n}\n") + "}\n"},
		{"many routes of few blocks", "switch \"s\" {\n subnet = \"10.0.0.0/8\"\n}\nnode \"n\" {\n count = 4096\n on \"s\" {}\n dynamic \"route\" {\n for_each = range(4096)\n content {\n to = cidrhost(\"11.0.0.0/8\", route.key)\n via = [for i in range(20000) : cidrhost(\"10.0.0.0/8\", i)]\n}\n}\n}\n"},
		{"many pods of few blocks", "node \"n\" {\n count = 4096\n pod \"P\" {\n count = 4096\n}\n dynamic \"pod\" {\n for_each = range(4096)\n labels = [\"Q\"]\n content {\n count = 4096\n}\n}\n}\n"},
		{"many weights", "switch \"s\" {\n subnet = \"10.0.0.0/8\"\n}\nnode \"n\" {\n count = 4096\n on \"s\" {}\n route {\n to = \"default\"\n via = [\"10.0.0.1\"]\n weights = range(20000)\n}\n}\n"},
		{"many defaults", "variable \"a\" {\n type = list(object({\n" + each(20_000, "a# = optional(string, \"\")\n") + "}))\n default = [" + many(50_000, "{},") + "]\n}"},
		{"large defaults", "variable \"a\" {\n type = list(object({ a = optional(list(string), [" + many(50_000, `"",`) + "]) }))\n default = [" + many(50_000, "{},") + "]\n}"},
		{"defaults in defaults", "variable \"a\" {\n type = " + many(60, "list(object({ a = optional(") + "string" + many(60, ", [{}, {}]) }))") + "\n default = [{}, {}]\n}"},
		{"many validations", "variable \"a\" {\n default = range(20000)\n" + each(9_000, "validation {\n condition = length([for x in var.a : x if x > #]) > 0\n error_message = join(\"\", var.a)\n}\n") + "}"},
		{"many outputs", each(20_000, "output \"o#\" {\n value = range(20000)\n}\n")},
		{"many outputs of many machines", "switch \"s\" {\n subnet = \"10.0.0.0/8\"\n}\nhost \"h\" {\n count = 4096\n on \"s\" {}\n}\n" + each(5_000, "output \"o#\" {\n value = [host.h, host.h[*].interfaces[*].addresses]\n}\n")},
		{"dynamic inside of dynamic", "node \"n\" {\n" + many(400, "dynamic \"on\" {\n for_each = [1]\n labels = [\"s\"]\n content {\n") + many(400, "}\n}\n") + "}\n"},
		{"many null counts", each(20_000, "node \"n#\" {\n count = null\n}\n")},
		{"many unknown names", "locals {\n" + each(20_000, "a# = var.b#\n") + "}"},
		{"long name", "switch \"" + many(900_000, "a") + "\" {\n}\n"},
		{"long address", "switch \"a\" {\n subnet = \"" + many(60_000, "1") + "\"\n}\n"},
		{"not text", many(200_000, "\xff\x00")},
		{"quotes", many(500_000, `"`)},
		{"too long", many(1<<20+1, "#")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := hostile.Worked()
			l, _, diags := lab.Load("x.hcl", []byte("lab \"x\" {}\n"+tt.src), lab.Inputs{})
			if (l == nil) != diags.HasErrors() {
				t.Error("a Lab and errors, or neither")
			}
			if d := hostile.Worked() - start; d > 10*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
}

// doubling writes n lines of which each is made of the one before.
func doubling(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i+1, i)
	}
	return b.String()
}
