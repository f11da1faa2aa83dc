package lab

import (
	"fmt"
	"math/big"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	ctyyaml "github.com/zclconf/go-cty-yaml"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions are those of Terraform that compute and nothing else, under the same names. The meter sees a value only when it
// is there, and charges an argument for its size: functions that make much of little, or take longer than their arguments
// are long, have a limit of their own. file and templatefile are the loader's, which knows where the definition is.
var functions = sync.OnceValue(func() map[string]function.Function {
	return map[string]function.Function{
		"cidrcontains": cidrcontains,
		"cidrhost":     cidrhost,
		"cidrnetmask":  cidrnetmask,
		"cidrsubnet":   cidrsubnet,
		"cidrsubnets":  cidrsubnets,

		"alltrue":         allTrue,
		"anytrue":         anyTrue,
		"chunklist":       stdlib.ChunklistFunc,
		"coalesce":        stdlib.CoalesceFunc,
		"coalescelist":    stdlib.CoalesceListFunc,
		"compact":         stdlib.CompactFunc,
		"concat":          stdlib.ConcatFunc,
		"contains":        contains,
		"distinct":        distinct,
		"element":         stdlib.ElementFunc,
		"flatten":         stdlib.FlattenFunc,
		"index":           indexOf,
		"keys":            stdlib.KeysFunc,
		"length":          length,
		"lookup":          lookup,
		"matchkeys":       limited(matchkeys, square),
		"merge":           stdlib.MergeFunc,
		"one":             one,
		"range":           rangeFunc,
		"reverse":         stdlib.ReverseListFunc,
		"setintersection": stdlib.SetIntersectionFunc,
		"setproduct":      limited(stdlib.SetProductFunc, product),
		"setsubtract":     stdlib.SetSubtractFunc,
		"setunion":        stdlib.SetUnionFunc,
		"slice":           stdlib.SliceFunc,
		"sort":            stdlib.SortFunc,
		"sum":             sum,
		"transpose":       transpose,
		"values":          stdlib.ValuesFunc,
		"zipmap":          stdlib.ZipmapFunc,

		"abs":      stdlib.AbsoluteFunc,
		"ceil":     stdlib.CeilFunc,
		"floor":    stdlib.FloorFunc,
		"log":      stdlib.LogFunc,
		"max":      stdlib.MaxFunc,
		"min":      stdlib.MinFunc,
		"parseint": stdlib.ParseIntFunc,
		"pow":      stdlib.PowFunc,
		"signum":   stdlib.SignumFunc,

		"base64decode": base64decode,
		"base64encode": base64encode,
		"chomp":        stdlib.ChompFunc,
		"endswith":     compares("suffix", strings.HasSuffix),
		"format":       limited(stdlib.FormatFunc, formatLimit),
		"formatlist":   limited(stdlib.FormatListFunc, formatListLimit),
		"indent":       limited(stdlib.IndentFunc, indentLimit),
		"join":         limited(stdlib.JoinFunc, joinLimit),
		"jsondecode":   stdlib.JSONDecodeFunc,
		"jsonencode":   stdlib.JSONEncodeFunc,
		"lower":        stdlib.LowerFunc,
		"regex":        limited(stdlib.RegexFunc, patternLimit),
		"regexall":     limited(stdlib.RegexAllFunc, patternLimit),
		"replace":      limited(replace, replaceLimit),
		"sha1":         sha1sum,
		"sha256":       sha256sum,
		"split":        stdlib.SplitFunc,
		"startswith":   compares("prefix", strings.HasPrefix),
		"strcontains":  compares("substr", strings.Contains),
		"substr":       stdlib.SubstrFunc,
		"title":        stdlib.TitleFunc,
		"trim":         stdlib.TrimFunc,
		"trimprefix":   stdlib.TrimPrefixFunc,
		"trimspace":    stdlib.TrimSpaceFunc,
		"trimsuffix":   stdlib.TrimSuffixFunc,
		"upper":        stdlib.UpperFunc,
		"yamldecode":   limited(ctyyaml.YAMLDecodeFunc, yamlLimit),

		"can":      tryfunc.CanFunc,
		"tobool":   stdlib.MakeToFunc(cty.Bool),
		"tolist":   stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
		"tomap":    stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)),
		"tonumber": stdlib.MakeToFunc(cty.Number),
		"toset":    stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
		"tostring": stdlib.MakeToFunc(cty.String),
		"try":      tryfunc.TryFunc,
	}
})

// meant are functions of other languages, and what they are called here.
var meant = map[string]string{
	"average": "sum", "cidr": "cidrsubnet", "count": "length", "default": "coalesce", "exists": "can", "filter": "compact",
	"first": "element", "fileexists": "file", "get": "lookup", "has": "contains", "head": "element", "in": "contains", "includes": "contains",
	"int": "tonumber", "ip": "cidrhost", "json": "jsonencode", "last": "element", "len": "length", "list": "tolist", "lowercase": "lower",
	"map": "tomap", "match": "regex", "mod": "floor", "netmask": "cidrnetmask", "nth": "element", "null": "coalesce", "number": "tonumber",
	"print": "format", "printf": "format", "round": "floor", "set": "toset", "size": "length", "some": "anytrue", "every": "alltrue",
	"sprintf": "format", "sqrt": "pow", "str": "tostring", "string": "tostring", "strlen": "length", "strip": "trimspace", "sub": "replace",
	"subnet": "cidrsubnet", "subnets": "cidrsubnets", "tail": "slice", "template": "templatefile", "total": "sum", "uniq": "distinct",
	"unique": "distinct", "uppercase": "upper", "yaml": "yamldecode", "zip": "zipmap",
}

// impure are functions of Terraform that a definition cannot have: the same file is the same lab, always and everywhere.
var impure = map[string]bool{
	"bcrypt": true, "plantimestamp": true, "timestamp": true, "timeadd": true, "uuid": true, "uuidv5": true, "rsadecrypt": true,
	"fileset": true, "pathexpand": true, "abspath": true,
}

// unknownFunction is what to say of a function that does not exist.
func unknownFunction(name string, known []string) string {
	const where = " docs/language.md lists the functions there are."
	if near := Suggest(name, known, ""); strings.HasPrefix(near, " Did you mean") {
		return fmt.Sprintf("There is no function %q.%s", name, near) + where
	}
	if near := meant[strings.ToLower(name)]; near != "" {
		return fmt.Sprintf("There is no function %q. The nearest one is %q.", name, near) + where
	}
	if impure[name] {
		return fmt.Sprintf("There is no function %q: a definition must give the same lab whenever and wherever it is loaded.", name) + where
	}
	return fmt.Sprintf("There is no function %q.", shorten(name)) + where
}

// limited is a function that first asks whether its arguments are reasonable.
func limited(f function.Function, limit func([]cty.Value) error) function.Function {
	return function.New(&function.Spec{
		Params:   f.Params(),
		VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			for _, a := range args {
				if !a.IsWhollyKnown() {
					return f.ReturnTypeForValues(args)
				}
			}
			if err := limit(args); err != nil {
				return cty.DynamicPseudoType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

func textOf(v cty.Value) string {
	if v.Type() != cty.String || v.IsNull() {
		return ""
	}
	return v.AsString()
}

func formatLimit(args []cty.Value) error {
	spec := textOf(args[0])
	longest := 512 // a number
	for _, a := range args[1:] {
		s := textOf(a)
		longest = max(longest, len(s))
		if f, _, err := big.ParseFloat(strings.TrimSpace(s), 10, 64, big.ToNearestEven); err == nil && !reasonable(cty.NumberVal(f)) {
			return fmt.Errorf("the number %s is too large or too small", shorten(s))
		}
	}
	verbs, digits := 0, 0
	inVerb := false
	for _, c := range spec {
		switch {
		case c == '%':
			verbs++
			digits, inVerb = 0, !inVerb
		case inVerb && c >= '0' && c <= '9':
			if digits++; digits > 3 {
				return function.NewArgErrorf(0, "a width or precision has at most three digits")
			}
		case c == '.', c == '[', c == ']':
			digits = 0
		case c == '+', c == '-', c == ' ', c == '#':
		default:
			inVerb = false
		}
	}
	if len(spec)+verbs*(longest+2000) > 16*maxString {
		return function.NewArgErrorf(0, "the string would be too long")
	}
	return nil
}

func joinLimit(args []cty.Value) error {
	total := 0
	for _, list := range args[1:] {
		if list.IsNull() || !list.CanIterateElements() {
			continue
		}
		for it := list.ElementIterator(); it.Next(); {
			_, e := it.Element()
			if total += len(textOf(e)) + len(textOf(args[0])); total > maxString {
				return fmt.Errorf("the string would be longer than %d bytes", maxString)
			}
		}
	}
	return nil
}

// square limits functions that compare every element with every other.
func square(args []cty.Value) error {
	const most = 2000
	for i, a := range args {
		if a.CanIterateElements() && a.LengthInt() > most {
			return function.NewArgErrorf(i, "the list may have at most %d elements here", most)
		}
	}
	return nil
}

// product limits what sets make when each element of one is combined with each of the others.
func product(args []cty.Value) error {
	n := 1
	for _, a := range args {
		if a.CanIterateElements() {
			if n *= a.LengthInt(); n > maxRange {
				return fmt.Errorf("there would be more than %d combinations", maxRange)
			}
		}
	}
	return nil
}

func formatListLimit(args []cty.Value) error {
	n := 1
	single := []cty.Value{args[0]}
	for _, a := range args[1:] {
		if !a.CanIterateElements() || a.Type().IsMapType() || a.Type().IsObjectType() {
			single = append(single, a)
			continue
		}
		n = max(n, a.LengthInt())
		longest := cty.StringVal("")
		for it := a.ElementIterator(); it.Next(); {
			if _, e := it.Element(); len(textOf(e)) > len(textOf(longest)) {
				longest = e
			}
		}
		single = append(single, longest)
	}
	if err := formatLimit(single); err != nil {
		return err
	}
	text := len(textOf(args[0])) * 8
	for _, a := range single[1:] {
		text += len(textOf(a)) + 512
	}
	if n*text > 256*maxString {
		return fmt.Errorf("the strings would be too long")
	}
	return nil
}

func indentLimit(args []cty.Value) error {
	spaces, ok := whole(args[0])
	if !ok || spaces < 0 || int(spaces)*(strings.Count(textOf(args[1]), "\n")+1) > maxString {
		return function.NewArgErrorf(0, "the string would be longer than %d bytes", maxString)
	}
	return nil
}

func patternLimit(args []cty.Value) error {
	const most = 1000
	if len(textOf(args[0])) > most {
		return function.NewArgErrorf(0, "a pattern has at most %d bytes", most)
	}
	return nil
}

func replaceLimit(args []cty.Value) error {
	text, from, to := textOf(args[0]), textOf(args[1]), textOf(args[2])
	if isPattern(from) {
		if err := patternLimit(args[1:]); err != nil {
			return err
		}
		// At most one match a byte, and each reference in the replacement at most all of the text.
		if (len(text)+1)*(len(to)+1) > 16*maxString || strings.Count(to, "$")*len(text) > 16*maxString {
			return fmt.Errorf("the string could become too long")
		}
		return nil
	}
	if n := strings.Count(text, from); n*len(to) > 16*maxString {
		return fmt.Errorf("the string would be too long")
	}
	return nil
}

// yamlLimit refuses aliases, by which a few lines of YAML become any number of values, and brackets too deep for the parser.
func yamlLimit(args []cty.Value) error {
	depth := 0
	for _, c := range textOf(args[0]) {
		switch c {
		case '[', '{':
			if depth++; depth > maxLevels {
				return function.NewArgErrorf(0, "brackets may nest at most %d deep", maxLevels)
			}
		case ']', '}':
			depth--
		}
	}
	for line := range strings.Lines(textOf(args[0])) {
		if anchor.MatchString(line) {
			return function.NewArgErrorf(0, "YAML anchors and aliases are not supported")
		}
	}
	return nil
}
