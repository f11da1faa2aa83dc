package lab

import (
	"math/big"
	"net/netip"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

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

// cidrsubnets cuts consecutive subnets, each as many bits longer as its argument says, out of a network. Each begins where
// its own length allows, after the one before.
var cidrsubnets = function.New(&function.Spec{
	Params:   []function.Parameter{prefixParam},
	VarParam: &function.Parameter{Name: "newbits", Type: cty.Number},
	Type:     function.StaticReturnType(cty.List(cty.String)),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		p, err := prefixArg(args[0])
		if err != nil {
			return cty.NilVal, err
		}
		var subnets []cty.Value
		next := p.Addr()
		for i, arg := range args[1:] {
			newbits, ok := whole(arg)
			bits := int64(p.Bits()) + newbits
			if !ok || newbits < 1 || bits > int64(p.Addr().BitLen()) {
				return cty.NilVal, function.NewArgErrorf(i+1, "a /%d can be extended by 1 to %d bits", p.Bits(), p.Addr().BitLen()-p.Bits())
			}
			subnet := netip.PrefixFrom(next, int(bits)).Masked()
			if subnet.Addr() != next { // next is inside a block of this length: the one after it is free
				subnet = netip.PrefixFrom(lastOf(subnet).Next(), int(bits))
			}
			if !p.Contains(subnet.Addr()) {
				return cty.NilVal, function.NewArgErrorf(i+1, "%s has no room left for a /%d after the %d before it", p, bits, i)
			}
			subnets = append(subnets, cty.StringVal(subnet.String()))
			next = lastOf(subnet).Next()
		}
		if len(subnets) == 0 {
			return cty.ListValEmpty(cty.String), nil
		}
		return cty.ListVal(subnets), nil
	},
})

func lastOf(p netip.Prefix) netip.Addr {
	return plus(p.Addr(), size(p.Addr().BitLen()-p.Bits(), -1))
}

var cidrcontains = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "containing_prefix", Type: cty.String}, {Name: "contained", Type: cty.String}},
	Type:   function.StaticReturnType(cty.Bool),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		outer, err := prefixArg(args[0])
		if err != nil {
			return cty.NilVal, err
		}
		inner, err := netip.ParsePrefix(args[1].AsString())
		if err != nil {
			a, err := netip.ParseAddr(args[1].AsString())
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(1, "%q is neither an address nor a network", shorten(args[1].AsString()))
			}
			inner = netip.PrefixFrom(a, a.BitLen())
		}
		return cty.BoolVal(outer.Contains(inner.Addr()) && outer.Bits() <= inner.Bits()), nil
	},
})
