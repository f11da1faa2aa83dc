package lab

import (
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"sync"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions are those of Terraform that a lab needs, under the same names. Those that can make much of little have a
// limit of their own: the meter only sees a value when it is there.
var functions = sync.OnceValue(func() map[string]function.Function {
	return map[string]function.Function{
		"cidrhost":    cidrhost,
		"cidrnetmask": cidrnetmask,
		"cidrsubnet":  cidrsubnet,
		"concat":      stdlib.ConcatFunc,
		"format":      limited(stdlib.FormatFunc, formatLimit),
		"join":        limited(stdlib.JoinFunc, joinLimit),
		"length":      stdlib.LengthFunc,
		"max":         stdlib.MaxFunc,
		"merge":       stdlib.MergeFunc,
		"min":         stdlib.MinFunc,
		"range":       rangeFunc,
		"toset":       stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
	}
})

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
		return function.NewArgErrorf(0, "the text would be too long")
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
				return fmt.Errorf("the text would be longer than %d bytes", maxString)
			}
		}
	}
	return nil
}

const maxRange = maxSpaces

var rangeFunc = function.New(&function.Spec{
	VarParam: &function.Parameter{Name: "bounds", Type: cty.Number},
	Type:     function.StaticReturnType(cty.List(cty.Number)),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		n := make([]int64, len(args))
		for i, a := range args {
			x, ok := whole(a)
			if !ok {
				return cty.NilVal, function.NewArgErrorf(i, "a whole number is needed, up to a thousand million")
			}
			n[i] = x
		}
		start, end, step := int64(0), int64(0), int64(0)
		switch len(n) {
		case 1:
			end = n[0]
		case 2:
			start, end = n[0], n[1]
		case 3:
			start, end, step = n[0], n[1], n[2]
			if step == 0 || (end-start)*step < 0 {
				return cty.NilVal, function.NewArgErrorf(2, "this step never leads from %d to %d", start, end)
			}
		default:
			return cty.NilVal, fmt.Errorf("range takes (end), (start, end) or (start, end, step)")
		}
		if step == 0 {
			if step = 1; end < start {
				step = -1
			}
		}
		if (end-start)/step > maxRange {
			return cty.NilVal, fmt.Errorf("a range has at most %d numbers", maxRange)
		}
		var list []cty.Value
		for x := start; (end-x)*step > 0; x += step {
			list = append(list, cty.NumberIntVal(x))
		}
		if len(list) == 0 {
			return cty.ListValEmpty(cty.Number), nil
		}
		return cty.ListVal(list), nil
	},
})

// whole returns a number that is whole and small enough to calculate with.
func whole(v cty.Value) (int64, bool) {
	x, accuracy := v.AsBigFloat().Int64()
	return x, accuracy == big.Exact && x <= 1e9 && x >= -1e9
}

// integer is whole for numbers as long as an IPv6 address.
func integer(v cty.Value) (*big.Int, bool) {
	if !reasonable(v) {
		return new(big.Int), false
	}
	n, accuracy := v.AsBigFloat().Int(nil)
	return n, accuracy == big.Exact
}

func number(name string) function.Parameter { return function.Parameter{Name: name, Type: cty.Number} }

var prefixParam = function.Parameter{Name: "prefix", Type: cty.String}

var cidrsubnet = function.New(&function.Spec{
	Params: []function.Parameter{prefixParam, number("newbits"), number("netnum")},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		p, err := prefixArg(args[0])
		if err != nil {
			return cty.NilVal, err
		}
		newbits, ok := whole(args[1])
		bits := int64(p.Bits()) + newbits
		if !ok || newbits < 0 || bits > int64(p.Addr().BitLen()) {
			return cty.NilVal, function.NewArgErrorf(1, "a /%d can be extended by 0 to %d bits", p.Bits(), p.Addr().BitLen()-p.Bits())
		}
		num, ok := integer(args[2])
		if !ok || num.Sign() < 0 || num.BitLen() > int(newbits) {
			return cty.NilVal, function.NewArgErrorf(2, "with %d new bits the subnets are numbered from 0 to %s", newbits, size(int(newbits), -1))
		}
		a := plus(p.Addr(), num.Lsh(num, uint(p.Addr().BitLen()-int(bits))))
		return cty.StringVal(netip.PrefixFrom(a, int(bits)).String()), nil
	},
})

var cidrhost = function.New(&function.Spec{
	Params: []function.Parameter{prefixParam, number("hostnum")},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		p, err := prefixArg(args[0])
		if err != nil {
			return cty.NilVal, err
		}
		host := p.Addr().BitLen() - p.Bits()
		num, ok := integer(args[1])
		if num.Sign() < 0 { // counted from the end
			num.Add(num, size(host, 0))
		}
		if !ok || num.Sign() < 0 || num.BitLen() > host {
			return cty.NilVal, function.NewArgErrorf(1, "the addresses of %s are numbered from 0 to %s", p, size(host, -1))
		}
		return cty.StringVal(plus(p.Addr(), num).String()), nil
	},
})

var cidrnetmask = function.New(&function.Spec{
	Params: []function.Parameter{prefixParam},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		p, err := prefixArg(args[0])
		if err != nil {
			return cty.NilVal, err
		}
		if p.Addr().Is6() {
			return cty.NilVal, function.NewArgErrorf(0, "IPv6 has no netmasks")
		}
		mask := ^uint32(0) << (32 - p.Bits())
		return cty.StringVal(netip.AddrFrom4([4]byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)}).String()), nil
	},
})

func prefixArg(v cty.Value) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(v.AsString())
	if err != nil {
		return p, function.NewArgErrorf(0, "%q is not a network such as 10.42.0.0/16", shorten(v.AsString()))
	}
	return p.Masked(), nil
}

// size is 2^bits + d.
func size(bits int, d int64) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits))
	return n.Add(n, big.NewInt(d))
}

func plus(a netip.Addr, n *big.Int) netip.Addr {
	b := a.AsSlice()
	sum := new(big.Int).Add(new(big.Int).SetBytes(b), n)
	a, _ = netip.AddrFromSlice(sum.FillBytes(b))
	return a
}
