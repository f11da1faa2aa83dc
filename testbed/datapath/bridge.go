package datapath

import "github.com/cilium/ebpf/asm"

// bridgeEnter is at the egress of a bridge with which pods are connected. A packet that ipip-decap has taken out of its
// tunnel still counts as one inside a tunnel (skb->encapsulation): no program can change that. Linux 6.18 does not know
// that a bridge can carry such packets unsegmented, and cuts a large one into packets of the MTU's size, at less than half
// of the throughput. A port of the bridge has no such notion. So large frames that are only passing through the node come
// into the bridge by a port of ours instead of out of the bridge's own device; from there they are forwarded as ever.
func bridgeEnter(port int) asm.Instructions {
	const stack = -8
	return join(
		asm.Instructions{
			asm.Mov.Reg(ctx, asm.R1),
			asm.LoadMem(asm.R2, ctx, skbGSOSize, asm.Word),
			asm.JEq.Imm(asm.R2, 0, "next"),
			asm.LoadMem(asm.R2, ctx, skbCameBy, asm.Word),
			asm.JEq.Imm(asm.R2, 0, "next"),
		},
		// A frame for a group would come back to the bridge itself.
		loadBytes(0, stack, 1, "next"),
		asm.Instructions{
			asm.LoadMem(asm.R2, asm.RFP, stack, asm.Byte),
			asm.JSet.Imm(asm.R2, 1, "next"),
		},
		redirect(port, intoIngress),
		verdict("next", next),
	)
}
