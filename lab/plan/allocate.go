package plan

import (
	"fmt"
	"maps"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// AllocateBlocks gives every node a block of each CIDR of the network: the one it asks for, else the next free one.
// A block has the prefix length that the mode's own program uses, or the one that lets all nodes, or all pods, fit in.
// reserved is the number of addresses in a block that no pod can have.
func AllocateBlocks(c *Net, bits4, bits6, reserved int) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, cidr := range c.CIDRs() {
		asked := map[*Member]netip.Prefix{}
		for _, n := range c.Nodes {
			for _, p := range n.Asked {
				if p.Addr().Is6() == cidr.Addr().Is6() {
					asked[n] = p
				}
			}
		}
		length := blockBits(c, cidr, bits4, bits6, reserved)
		free := blocks{within: cidr, next: netip.PrefixFrom(cidr.Addr(), length), taken: slices.SortedFunc(maps.Values(asked), netip.Prefix.Compare)}
		for _, n := range c.Nodes {
			block, ok := asked[n]
			if !ok {
				block, ok = free.take()
			}
			if !ok {
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError,
					Summary:  "The pod network is full",
					Detail:   fmt.Sprintf("Node %q gets no block: %s cannot hold a /%d for each of %d nodes. Use a wider network cidr.", n.Name, cidr, length, len(c.Nodes)),
					Subject:  c.Def.At.Of("cidr", c.Def.Range).Ptr(),
				})
				break
			}
			if room := hosts(block) - reserved; len(n.NICs) > room {
				subject := n.At.Of("pod_cidr", n.Range)
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError,
					Summary:  "Too many pods for the node's pod CIDR",
					Detail:   fmt.Sprintf("Node %q has %d pods, and %s has room for %d. Ask for fewer pods or a wider pod_cidr.", n.Name, len(n.NICs), block, room),
					Subject:  &subject,
				})
			}
			n.PodCIDRs = append(n.PodCIDRs, block)
		}
	}
	return diags
}

// blockBits narrows the blocks until every node gets one, but not so far that the pods no longer fit.
func blockBits(c *Net, cidr netip.Prefix, bits4, bits6, reserved int) int {
	length, width := bits4, 32
	if cidr.Addr().Is6() {
		length, width = bits6, 128
	}
	pods := reserved
	for _, n := range c.Nodes {
		pods = max(pods, len(n.NICs)+reserved)
	}
	length = min(length, width-bits.Len(uint(pods-1)))
	return min(width, max(length, cidr.Bits()+bits.Len(uint(max(len(c.Nodes), 1)-1))))
}

// blocks are those of one length that are free in a CIDR.
type blocks struct {
	within netip.Prefix
	next   netip.Prefix
	taken  []netip.Prefix // in order; they share no address with one another
}

// take returns the lowest block that is free. What is taken is jumped over as a whole, however many blocks it holds.
func (b *blocks) take() (netip.Prefix, bool) {
	for b.within.Contains(b.next.Addr()) {
		block := b.next
		b.next = after(block, block.Bits())
		for len(b.taken) > 0 && Last(b.taken[0]).Less(block.Addr()) {
			b.taken = b.taken[1:]
		}
		if len(b.taken) == 0 || !b.taken[0].Overlaps(block) {
			return block, true
		}
		if t := b.taken[0]; t.Bits() < block.Bits() {
			b.next = after(t, block.Bits())
		}
	}
	return netip.Prefix{}, false
}

// after is the prefix of that length which begins where another ends; it is not valid where the addresses end.
func after(p netip.Prefix, bits int) netip.Prefix { return netip.PrefixFrom(Last(p).Next(), bits) }

// hosts counts a block's addresses, up to a number no lab reaches.
func hosts(p netip.Prefix) int { return 1 << min(p.Addr().BitLen()-p.Bits(), 30) }

// Single is the prefix that holds nothing but an address.
func Single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// Nth returns the nth address of a block.
func Nth(p netip.Prefix, n int) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := len(b) - 1; i >= 0 && n > 0; i-- {
		n += int(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
