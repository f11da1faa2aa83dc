package datapath

import "github.com/cilium/ebpf/asm"

// vlanPush is at the egress of a sub-interface: frames get the tag and leave by the device below.
func vlanPush(id, lower int) asm.Instructions {
	return join(
		asm.Instructions{
			asm.Mov.Reg(ctx, asm.R1),
			asm.Mov.Imm(asm.R2, network(etherTypeVLAN)),
			asm.Mov.Imm(asm.R3, int32(id)),
			asm.FnSkbVlanPush.Call(),
			asm.JNE.Imm(asm.R0, 0, "drop"),
		},
		redirect(lower, 0),
		verdict("drop", drop),
	)
}

// vlanPop is at the ingress of the device below: frames with the tag lose it and arrive at the sub-interface. That takes
// all of them, whatever MAC address they are for: a device on top of the sub-interface may be meant.
func vlanPop(id, device int) asm.Instructions {
	return join(
		asm.Instructions{
			asm.Mov.Reg(ctx, asm.R1),
			asm.LoadMem(asm.R2, ctx, skbVLANPresent, asm.Word),
			asm.JEq.Imm(asm.R2, 0, "next"),
			asm.LoadMem(asm.R2, ctx, skbVLANProto, asm.Word),
			asm.JNE.Imm(asm.R2, network(etherTypeVLAN), "next"),
			asm.LoadMem(asm.R2, ctx, skbVLANTCI, asm.Word),
			asm.And.Imm(asm.R2, 0xfff),
			asm.JNE.Imm(asm.R2, int32(id), "next"),
			asm.Mov.Reg(asm.R1, ctx),
			asm.FnSkbVlanPop.Call(),
			asm.JNE.Imm(asm.R0, 0, "drop"),
		},
		redirect(device, intoIngress),
		verdict("next", next),
		verdict("drop", drop),
	)
}
