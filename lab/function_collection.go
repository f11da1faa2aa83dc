package lab

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

const maxRange = maxSpaces

var rangeFunc = function.New(&function.Spec{
	VarParam: &function.Parameter{Name: "bounds", Type: cty.Number},
	Type:     function.StaticReturnType(cty.List(cty.Number)),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		n := make([]int64, len(args))
		for i, a := range args {
			x, ok := whole(a)
			if !ok {
				return cty.NilVal, function.NewArgErrorf(i, "it must be a whole number, at most 1000000000")
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
				return cty.NilVal, function.NewArgErrorf(2, "with this step the range never gets from %d to %d", start, end)
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

// length counts the elements of a collection, or the characters of a text.
var length = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true}},
	Type: func(args []cty.Value) (cty.Type, error) {
		if ty := args[0].Type(); ty != cty.String && ty != cty.DynamicPseudoType && !ty.IsCollectionType() && !ty.IsTupleType() && !ty.IsObjectType() {
			return cty.Number, function.NewArgErrorf(0, "only collections and strings have a length")
		}
		return cty.Number, nil
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if args[0].Type() == cty.String {
			return stdlib.Strlen(args[0])
		}
		return cty.NumberIntVal(int64(args[0].LengthInt())), nil
	},
})

// lookup finds a key in a map or an object; with two arguments the key must be there.
var lookup = function.New(&function.Spec{
	Params:   []function.Parameter{{Name: "map", Type: cty.DynamicPseudoType}, {Name: "key", Type: cty.String}},
	VarParam: &function.Parameter{Name: "default", Type: cty.DynamicPseudoType, AllowNull: true, AllowDynamicType: true},
	Type: func(args []cty.Value) (cty.Type, error) {
		v, err := find(args)
		return v.Type(), err
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return find(args) },
})

func find(args []cty.Value) (cty.Value, error) {
	where := args[0]
	switch ty := where.Type(); {
	case len(args) > 3:
		return cty.DynamicVal, errors.New("lookup takes a map, a key and at most one default")
	case !ty.IsMapType() && !ty.IsObjectType():
		return cty.DynamicVal, function.NewArgErrorf(0, "lookup needs a map or an object")
	case !where.IsKnown() || !args[1].IsKnown():
		return cty.DynamicVal, nil
	case ty.IsMapType():
		if where.HasIndex(args[1]).True() {
			return where.Index(args[1]), nil
		}
	case ty.HasAttribute(args[1].AsString()):
		return where.GetAttr(args[1].AsString()), nil
	}
	if len(args) == 3 {
		return args[2], nil
	}
	return cty.DynamicVal, function.NewArgErrorf(1, "the map has no key %q; a third argument would be the default", shorten(args[1].AsString()))
}

var listParam = function.Parameter{Name: "list", Type: cty.DynamicPseudoType}

// elementsOf returns the elements of a list, a set or a tuple.
func elementsOf(v cty.Value, arg int) ([]cty.Value, error) {
	if ty := v.Type(); !ty.IsListType() && !ty.IsSetType() && !ty.IsTupleType() {
		return nil, function.NewArgErrorf(arg, "a list or a set is needed")
	}
	return v.AsValueSlice(), nil
}

// indexOf is the place of a value in a list.
var indexOf = function.New(&function.Spec{
	Params: []function.Parameter{listParam, {Name: "value", Type: cty.DynamicPseudoType, AllowNull: true}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		list, err := elementsOf(args[0], 0)
		if err != nil {
			return cty.NilVal, err
		}
		for i, e := range list {
			if e.RawEquals(args[1]) {
				return cty.NumberIntVal(int64(i)), nil
			}
		}
		return cty.NilVal, function.NewArgErrorf(1, "the list does not hold it")
	},
})

// The library's contains and distinct walk the whole of a value for each comparison; these look no further than they differ.
var contains = function.New(&function.Spec{
	Params: []function.Parameter{listParam, {Name: "value", Type: cty.DynamicPseudoType, AllowNull: true}},
	Type:   function.StaticReturnType(cty.Bool),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		list, err := elementsOf(args[0], 0)
		if err != nil {
			return cty.NilVal, err
		}
		return cty.BoolVal(slices.ContainsFunc(list, args[1].RawEquals)), nil
	},
})

var distinct = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "list", Type: cty.List(cty.DynamicPseudoType)}},
	Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl: func(args []cty.Value, ty cty.Type) (cty.Value, error) {
		var kept []cty.Value
		seen := map[int][]cty.Value{}
		for _, v := range args[0].AsValueSlice() {
			hash := v.Hash()
			if !slices.ContainsFunc(seen[hash], v.RawEquals) {
				seen[hash], kept = append(seen[hash], v), append(kept, v)
			}
		}
		if len(kept) == 0 {
			return cty.ListValEmpty(ty.ElementType()), nil
		}
		return cty.ListVal(kept), nil
	},
})

var sum = function.New(&function.Spec{
	Params: []function.Parameter{listParam},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		list, err := elementsOf(args[0], 0)
		if err != nil {
			return cty.NilVal, err
		}
		total := cty.Zero
		for _, e := range list {
			n, err := convert.Convert(e, cty.Number)
			if err != nil || n.IsNull() {
				return cty.NilVal, function.NewArgErrorf(0, "only numbers can be added, not %s", kindOf(e))
			}
			if !reasonable(n) {
				return cty.NilVal, function.NewArgErrorf(0, "a number is too large or too small")
			}
			total = total.Add(n)
		}
		return total, nil
	},
})

// one is the element of a list that has one, and null for one that has none.
var one = function.New(&function.Spec{
	Params: []function.Parameter{listParam},
	Type: func(args []cty.Value) (cty.Type, error) {
		v, err := single(args[0])
		return v.Type(), err
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return single(args[0]) },
})

func single(v cty.Value) (cty.Value, error) {
	if !v.IsKnown() {
		return cty.DynamicVal, nil
	}
	list, err := elementsOf(v, 0)
	switch {
	case err != nil:
		return cty.DynamicVal, err
	case len(list) > 1:
		return cty.DynamicVal, function.NewArgErrorf(0, "it has %d elements, and may have at most one", len(list))
	case len(list) == 1:
		return list[0], nil
	case v.Type().IsTupleType():
		return cty.NullVal(cty.DynamicPseudoType), nil
	}
	return cty.NullVal(v.Type().ElementType()), nil
}

var (
	allTrue = truth(func(yes, all int) bool { return yes == all })
	anyTrue = truth(func(yes, _ int) bool { return yes > 0 })
)

func truth(judge func(yes, all int) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{listParam},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			list, err := elementsOf(args[0], 0)
			if err != nil {
				return cty.NilVal, err
			}
			yes := 0
			for _, e := range list {
				b, err := convert.Convert(e, cty.Bool)
				if err != nil {
					return cty.NilVal, function.NewArgErrorf(0, "an element is %s, and should be true or false", kindOf(e))
				}
				if !b.IsNull() && b.True() {
					yes++
				}
			}
			return cty.BoolVal(judge(yes, len(list))), nil
		},
	})
}

// matchkeys keeps the values whose keys, at the same places of another list, are among those that are searched.
var matchkeys = function.New(&function.Spec{
	Params: []function.Parameter{
		{Name: "values", Type: cty.List(cty.DynamicPseudoType)}, {Name: "keys", Type: cty.List(cty.DynamicPseudoType)}, {Name: "searchset", Type: cty.List(cty.DynamicPseudoType)},
	},
	Type: func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl: func(args []cty.Value, ty cty.Type) (cty.Value, error) {
		values, keys, search := args[0].AsValueSlice(), args[1].AsValueSlice(), args[2].AsValueSlice()
		if len(values) != len(keys) {
			return cty.NilVal, fmt.Errorf("there are %d values and %d keys", len(values), len(keys))
		}
		var kept []cty.Value
		for i, k := range keys {
			same := func(s cty.Value) bool {
				s, err := convert.Convert(s, k.Type())
				return err == nil && s.RawEquals(k)
			}
			if slices.ContainsFunc(search, same) {
				kept = append(kept, values[i])
			}
		}
		if len(kept) == 0 {
			return cty.ListValEmpty(ty.ElementType()), nil
		}
		return cty.ListVal(kept), nil
	},
})

// transpose turns a map of lists of texts round: each text is a key, and its values are the keys that had it.
var transpose = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "map", Type: cty.Map(cty.List(cty.String))}},
	Type:   function.StaticReturnType(cty.Map(cty.List(cty.String))),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		turned := map[string][]cty.Value{}
		lists := args[0].AsValueMap()
		for _, key := range slices.Sorted(maps.Keys(lists)) {
			if lists[key].IsNull() {
				continue
			}
			for _, text := range lists[key].AsValueSlice() {
				if !text.IsNull() {
					turned[text.AsString()] = append(turned[text.AsString()], cty.StringVal(key))
				}
			}
		}
		if len(turned) == 0 {
			return cty.MapValEmpty(cty.List(cty.String)), nil
		}
		out := map[string]cty.Value{}
		for text, keys := range turned {
			out[text] = cty.ListVal(keys)
		}
		return cty.MapVal(out), nil
	},
})
