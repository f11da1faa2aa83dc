package trace

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// point is a tracepoint of the kernel, and where among its arguments is what is read. All have the packet first.
type point struct {
	name             string
	kind             kind
	location, reason int // -1: it has none
}

type kind uint32

const (
	in kind = iota + 1
	out
	dropped
	consumed
)

var points = []point{
	{"netif_receive_skb", in, -1, -1},
	{"net_dev_start_xmit", out, -1, -1},
	{"kfree_skb", dropped, 1, 2},
	{"consume_skb", consumed, 1, -1},
}

// What a program writes for each sight of a marked packet.
const (
	atKind      = 0
	atReason    = 4
	atTime      = 8
	atNamespace = 16
	atIfindex   = 20
	atPacket    = 24
	atLocation  = 32
	atName      = 40
	atLength    = 56
	atCame      = 60
	atData      = 64
	atHead      = 72
	atMAC       = 80
	atNetwork   = 82
	atDevKind   = 84
	atVLAN      = 88 // protocol and tag
	atVLANByte  = 92
	atTail      = 96
	atFrame     = 112
	frameLen    = 192
	recordLen   = atFrame + frameLen
)

// Kinds of devices whose frames begin with MAC addresses: ARPHRD_ETHER and ARPHRD_LOOPBACK.
const etherDevice, loopback = 1, 772

// program looks at each packet that comes by a tracepoint. One whose last 16 bytes are not marked costs it three reads.
func (l *layout) program(p point, events *ebpf.Map, m mark) *ebpf.ProgramSpec {
	const (
		record  = -recordLen - 16
		scratch = -8
		args    = asm.R6
		skb     = asm.R7
		ptr     = asm.R8
		start   = asm.R9
	)
	var code asm.Instructions
	add := func(i ...asm.Instruction) { code = append(code, i...) }
	label := "" // of the next instruction
	read := func(to, size int32, from asm.Register, offset int32) {
		first := asm.Mov.Reg(asm.R1, asm.RFP)
		if label != "" {
			first, label = first.WithSymbol(label), ""
		}
		add(first, asm.Add.Imm(asm.R1, to), asm.Mov.Imm(asm.R2, size), asm.Mov.Reg(asm.R3, from), asm.Add.Imm(asm.R3, offset), asm.FnProbeReadKernel.Call())
	}
	load := func(to asm.Register, offset int16, size asm.Size) { add(asm.LoadMem(to, asm.RFP, offset, size)) }
	word := func(b []byte) int32 { return int32(binary.NativeEndian.Uint32(b)) }

	add(asm.Mov.Reg(args, asm.R1), asm.LoadMem(skb, args, 0, asm.DWord), asm.Mov.Imm(asm.R0, 0))
	for i := int16(record); i < 0; i += 8 {
		add(asm.StoreMem(asm.RFP, i, asm.R0, asm.DWord))
	}
	read(record+atHead, 8, skb, l.skb.head)
	read(scratch, 4, skb, l.skb.tail)
	load(ptr, record+atHead, asm.DWord)
	load(asm.R1, scratch, asm.Word)
	add(asm.Add.Reg(ptr, asm.R1))
	read(record+atTail, tailLen, ptr, -tailLen)
	load(asm.R1, record+atTail, asm.DWord)
	add(asm.LoadImm(asm.R2, int64(binary.NativeEndian.Uint64(m.cookie[:])), asm.DWord), asm.JEq.Reg(asm.R1, asm.R2, "ours"))
	if m.tcp {
		for i, ack := range [][4]byte{m.synAck(), m.reset()} { // an answer of TCP has no place for a cookie
			load(asm.R1, record+atTail+4*int16(i), asm.Word)
			add(asm.LoadImm(asm.R2, int64(uint32(word(ack[:]))), asm.DWord), asm.JEq.Reg(asm.R1, asm.R2, "ours"))
		}
	}
	if m.answer != nil { // nor has that of a program
		for i, next := range []asm.JumpOp{asm.JNE, asm.JEq} {
			load(asm.R1, record+atTail+8*int16(i), asm.DWord)
			add(asm.LoadImm(asm.R2, int64(binary.NativeEndian.Uint64(m.answer[8*i:])), asm.DWord), next.Reg(asm.R1, asm.R2, []string{"out", "ours"}[i]))
		}
	}
	add(asm.Ja.Label("out"))

	add(asm.Mov.Imm(asm.R0, int32(p.kind)).WithSymbol("ours"), asm.StoreMem(asm.RFP, record+atKind, asm.R0, asm.Word))
	add(asm.FnKtimeGetNs.Call(), asm.StoreMem(asm.RFP, record+atTime, asm.R0, asm.DWord))
	add(asm.StoreMem(asm.RFP, record+atPacket, skb, asm.DWord))
	if p.location >= 0 {
		add(asm.LoadMem(asm.R1, args, int16(8*p.location), asm.DWord), asm.StoreMem(asm.RFP, record+atLocation, asm.R1, asm.DWord))
	}
	if p.reason >= 0 {
		add(asm.LoadMem(asm.R1, args, int16(8*p.reason), asm.DWord), asm.StoreMem(asm.RFP, record+atReason, asm.R1, asm.Word))
	}
	read(record+atLength, 4, skb, l.skb.len)
	read(record+atCame, 4, skb, l.skb.iif)
	read(record+atData, 8, skb, l.skb.data)
	read(record+atMAC, 2, skb, l.skb.mac)
	read(record+atNetwork, 2, skb, l.skb.network)
	read(record+atVLAN, 2, skb, l.skb.proto)
	read(record+atVLAN+2, 2, skb, l.skb.tci)
	if l.skb.vlanByte >= 0 {
		read(record+atVLANByte, 1, skb, l.skb.vlanByte)
	}
	read(scratch, 8, skb, l.skb.dev)
	load(ptr, scratch, asm.DWord)
	add(asm.JNE.Imm(ptr, 0, "device"))

	// What a machine sends itself has no device yet where its firewall and its routes look at it; its socket has a namespace.
	read(scratch, 8, skb, l.skb.sk)
	load(ptr, scratch, asm.DWord)
	add(asm.JEq.Imm(ptr, 0, "frame"))
	read(scratch, 8, ptr, l.sock.net)
	add(asm.Ja.Label("namespace"))

	label = "device"
	read(record+atIfindex, 4, ptr, l.dev.ifindex)
	read(record+atName, 16, ptr, l.dev.name)
	read(record+atDevKind, 2, ptr, l.dev.kind)
	read(scratch, 8, ptr, l.dev.net)
	add(asm.LoadMem(ptr, asm.RFP, scratch, asm.DWord).WithSymbol("namespace"))
	read(record+atNamespace, 4, ptr, l.net.inum)

	// The frame begins with its MAC header. What came in by a device is already behind it, and of what is dropped only the
	// network's header is sure to be there.
	add(asm.LoadMem(start, asm.RFP, record+atData, asm.DWord).WithSymbol("frame"))
	switch p.kind {
	case in:
		load(asm.R1, record+atDevKind, asm.Half)
		add(asm.JEq.Imm(asm.R1, etherDevice, "mac"), asm.JNE.Imm(asm.R1, loopback, "copy"))
		add(asm.LoadMem(start, asm.RFP, record+atHead, asm.DWord).WithSymbol("mac"))
		load(asm.R1, record+atMAC, asm.Half)
		add(asm.Add.Reg(start, asm.R1))
	case dropped, consumed:
		load(start, record+atHead, asm.DWord)
		load(asm.R1, record+atNetwork, asm.Half)
		add(asm.Add.Reg(start, asm.R1))
	}
	label = "copy"
	read(record+atFrame, frameLen, start, 0)
	add(asm.LoadMapPtr(asm.R1, events.FD()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, record), asm.Mov.Imm(asm.R3, recordLen), asm.Mov.Imm(asm.R4, 0), asm.FnRingbufOutput.Call())
	add(asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
	return &ebpf.ProgramSpec{Name: "lab_trace", Type: ebpf.RawTracepoint, Instructions: code, License: "GPL"}
}
