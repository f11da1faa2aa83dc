package plan

import (
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/hashicorp/hcl/v2"
)

// AllocateBlocks gives every node a block of each CIDR of the network: the one it asks for, else the next free one.
// A block has the prefix length that the mode's own program uses, or the one that lets all nodes, or all pods, fit in.
// reserved is the number of addresses in a block that no pod can have.
func AllocateBlocks(c *Cluster, bits4, bits6, reserved int) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, cidr := range c.CIDRs() {
		taken := map[*Node]netip.Prefix{}
		for _, n := range c.Nodes {
			for _, p := range n.Machine.PodCIDRs {
				if p.Addr().Is6() == cidr.Addr().Is6() {
					taken[n] = p
				}
			}
		}
		length, pods := blockBits(c, cidr, bits4, bits6, reserved), 0
		next := netip.PrefixFrom(cidr.Addr(), length)
		for _, n := range c.Nodes {
			pods = max(pods, len(n.Pods))
			block, ok := taken[n]
			if !ok {
				block, ok = free(cidr, &next, taken)
			}
			if !ok {
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError,
					Summary:  "The pod network is full",
					Detail:   fmt.Sprintf("Node %q gets no block: %s cannot hold a /%d for each of %d nodes. Use a wider network cidr.", n.Name, cidr, length, len(c.Nodes)),
					Subject:  c.Lab.Network.At.Of("cidr", c.Lab.Network.Range).Ptr(),
				})
				break
			}
			taken[n] = block
			if room := hosts(block) - reserved; len(n.Pods) > room {
				subject := n.At.Of("pod_cidr", n.Range)
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError,
					Summary:  "Too many pods for the node's pod CIDR",
					Detail:   fmt.Sprintf("Node %q has %d pods, and %s has room for %d. Ask for fewer pods or a wider pod_cidr.", n.Name, len(n.Pods), block, room),
					Subject:  &subject,
				})
			}
			n.PodCIDRs = append(n.PodCIDRs, block)
		}
	}
	return diags
}

// blockBits narrows the blocks until every node gets one, but not so far that the pods no longer fit.
func blockBits(c *Cluster, cidr netip.Prefix, bits4, bits6, reserved int) int {
	length, width := bits4, 32
	if cidr.Addr().Is6() {
		length, width = bits6, 128
	}
	pods := reserved
	for _, n := range c.Nodes {
		pods = max(pods, len(n.Pods)+reserved)
	}
	length = min(length, width-bits.Len(uint(pods-1)))
	return min(width, max(length, cidr.Bits()+bits.Len(uint(max(len(c.Nodes), 1)-1))))
}

// free moves next over the blocks that overlap one that is taken.
func free(cidr netip.Prefix, next *netip.Prefix, taken map[*Node]netip.Prefix) (netip.Prefix, bool) {
search:
	for cidr.Contains(next.Addr()) {
		block := *next
		last := Last(block)
		*next = netip.PrefixFrom(last.Next(), block.Bits())
		for _, t := range taken {
			if t.Overlaps(block) {
				continue search
			}
		}
		return block, true
	}
	return netip.Prefix{}, false
}

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
