package wire

import (
	"fmt"

	"labnet/lab/plan"
)

// Matches holds a frame, seen where it leaves the sender's node, against what a mode promises of it. Why not is said in
// words that follow "the frame".
func Matches(f Frame, e plan.Expectation) (ok bool, why string) {
	want, seen := e.Encap, f.Encap
	switch {
	case !e.Wire:
		return false, "is on the underlay, though the packets are to stay on the node"
	case f.Outer.Fragment:
		return false, fmt.Sprintf("is a fragment of %d bytes", f.Length)
	case seen.Type != want.Type && want.Type == "":
		return false, fmt.Sprintf("is encapsulated (%s), and must not be", seen)
	case seen.Type != want.Type && seen.Type == "":
		return false, fmt.Sprintf("is not encapsulated (%s > %s)", f.Outer.Src, f.Outer.Dst)
	case seen.Type != want.Type:
		return false, fmt.Sprintf("is %s instead of %s", seen, want)
	case seen.VLAN != want.VLAN:
		return false, fmt.Sprintf("is tagged for VLAN %d instead of %d", seen.VLAN, want.VLAN)
	case seen.VNI != want.VNI:
		return false, fmt.Sprintf("has VNI %d instead of %d", seen.VNI, want.VNI)
	case seen.Port != want.Port:
		return false, fmt.Sprintf("goes to UDP port %d instead of %d", seen.Port, want.Port)
	case seen.Src != want.Src:
		return false, fmt.Sprintf("comes from %s instead of %s", seen.Src, want.Src)
	case seen.Dst != want.Dst:
		return false, fmt.Sprintf("goes to %s instead of %s", seen.Dst, want.Dst)
	case seen.Overhead != want.Overhead:
		return false, fmt.Sprintf("is %d bytes longer than its inner packet instead of %d", seen.Overhead, want.Overhead)
	}
	return true, ""
}
