package datapath

import (
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf/asm"
)

// headerLen is the length of an IPv4 header without options, which is all that a tunnel adds.
const headerLen = 20

// Where in an IPv4 header its fields are.
const (
	ipTOS      = 1
	ipLength   = 2
	ipID       = 4
	ipFragment = 6
	ipTTL      = 8
	ipProtocol = 9
	ipChecksum = 10
	ipSource   = 12
	ipDest     = 16
)

const protocolIPIP = 4

// Where in struct bpf_fib_lookup the fields are, and its length.
const (
	fibFamily  = 0
	fibIfindex = 8
	fibTOS     = 12
	fibSource  = 16
	fibDest    = 32
	fibLen     = 64
)

const familyIPv4 = 2 // AF_INET

// The stack of ipip-encap.
const (
	inner = -24 // the IPv4 header of the packet
	outer = -48 // the one to be put in front of it
	fib   = outer - fibLen
)

// ipipEncap is at the egress of a tunnel device. It does what the kernel's ipip device does (net/ipv4/ip_tunnel.c,
// ip_tunnel_xmit) with remote any, ttl inherit, tos 0 and nopmtudisc: the far end is the next hop of the route that leads
// out of the device; TTL, DF and ECN are those of the inner packet, and congestion experienced inside is not repeated
// outside. Then the routes say where the outer packet goes.
func ipipEncap(local netip.Addr) asm.Instructions {
	const farEnd, device = asm.R7, asm.R8
	return join(
		asm.Instructions{
			asm.Mov.Reg(ctx, asm.R1),
			asm.LoadMem(asm.R2, ctx, skbProtocol, asm.Word),
			asm.JNE.Imm(asm.R2, network(etherTypeIPv4), "drop"),
		},
		loadBytes(ethernet, inner, headerLen, "drop"),

		// The next hop of the inner packet.
		zero(fib, fibLen),
		asm.Instructions{
			asm.StoreImm(asm.RFP, fib+fibFamily, familyIPv4, asm.Byte),
			asm.LoadMem(asm.R2, ctx, skbIfindex, asm.Word),
			asm.StoreMem(asm.RFP, fib+fibIfindex, asm.R2, asm.Word),
			asm.LoadMem(asm.R2, asm.RFP, inner+ipTOS, asm.Byte),
			asm.StoreMem(asm.RFP, fib+fibTOS, asm.R2, asm.Byte),
			asm.LoadMem(asm.R2, asm.RFP, inner+ipSource, asm.Word),
			asm.StoreMem(asm.RFP, fib+fibSource, asm.R2, asm.Word),
			asm.LoadMem(asm.R2, asm.RFP, inner+ipDest, asm.Word),
			asm.StoreMem(asm.RFP, fib+fibDest, asm.R2, asm.Word),
		},
		lookup(lookupOutput, fibDest, farEnd),

		// The device that the outer packet leaves by. The tunnel itself is none.
		zero(fib, fibLen),
		asm.Instructions{
			asm.StoreImm(asm.RFP, fib+fibFamily, familyIPv4, asm.Byte),
			asm.LoadMem(asm.R2, ctx, skbIfindex, asm.Word),
			asm.StoreMem(asm.RFP, fib+fibIfindex, asm.R2, asm.Word),
			asm.StoreImm(asm.RFP, fib+fibSource, int64(word(local)), asm.Word),
			asm.StoreMem(asm.RFP, fib+fibDest, farEnd, asm.Word),
		},
		lookup(0, fibIfindex, device),
		asm.Instructions{
			asm.LoadMem(asm.R2, ctx, skbIfindex, asm.Word),
			asm.JEq.Reg(device, asm.R2, "drop"),
		},

		// Room for the header. A packet that is a tunnel's already is not marked as one a second time.
		adjustRoom(headerLen, fixedGSO|encapIPv4),
		asm.Instructions{asm.JEq.Imm(asm.R0, 0, "roomy")},
		adjustRoom(headerLen, fixedGSO),
		asm.Instructions{asm.JNE.Imm(asm.R0, 0, "drop")},

		asm.Instructions{
			asm.FnGetPrandomU32.Call().WithSymbol("roomy"),
			asm.StoreMem(asm.RFP, outer+ipID, asm.R0, asm.Half),
			asm.StoreImm(asm.RFP, outer, 0x45, asm.Byte), // version 4, five words
			asm.LoadMem(asm.R2, asm.RFP, inner+ipTOS, asm.Byte),
			asm.And.Imm(asm.R2, 3),
			asm.JNE.Imm(asm.R2, 3, "ecn"),
			asm.Mov.Imm(asm.R2, 2),
			asm.StoreMem(asm.RFP, outer+ipTOS, asm.R2, asm.Byte).WithSymbol("ecn"),
			asm.LoadMem(asm.R2, asm.RFP, inner+ipLength, asm.Half),
			asm.HostTo(asm.BE, asm.R2, asm.Half),
			asm.Add.Imm(asm.R2, headerLen),
			asm.HostTo(asm.BE, asm.R2, asm.Half),
			asm.StoreMem(asm.RFP, outer+ipLength, asm.R2, asm.Half),
			asm.LoadMem(asm.R2, asm.RFP, inner+ipFragment, asm.Half),
			asm.And.Imm(asm.R2, network(0x4000)),
			asm.StoreMem(asm.RFP, outer+ipFragment, asm.R2, asm.Half),
			asm.LoadMem(asm.R2, asm.RFP, inner+ipTTL, asm.Byte),
			asm.StoreMem(asm.RFP, outer+ipTTL, asm.R2, asm.Byte),
			asm.StoreImm(asm.RFP, outer+ipProtocol, protocolIPIP, asm.Byte),
			asm.StoreImm(asm.RFP, outer+ipChecksum, 0, asm.Half),
			asm.StoreImm(asm.RFP, outer+ipSource, int64(word(local)), asm.Word),
			asm.StoreMem(asm.RFP, outer+ipDest, farEnd, asm.Word),
		},
		checksum(outer),
		asm.Instructions{
			asm.Mov.Reg(asm.R1, ctx),
			asm.Mov.Imm(asm.R2, ethernet),
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, outer),
			asm.Mov.Imm(asm.R4, headerLen),
			asm.Mov.Imm(asm.R5, 0),
			asm.FnSkbStoreBytes.Call(),
			asm.JNE.Imm(asm.R0, 0, "drop"),

			asm.Mov.Reg(asm.R1, device),
			asm.Mov.Imm(asm.R2, 0), // the next hop there: the kernel looks it up, and gives the packet its new route
			asm.Mov.Imm(asm.R3, 0),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnRedirectNeigh.Call(),
			asm.Return(),
		},
		verdict("drop", drop),
	)
}

// ipipDecap is at the ingress of an uplink: packets of protocol 4 for this end lose the outer header and arrive at the
// tunnel device (ip_tunnel_rcv). Fragments, and headers with options, are left to the kernel, which has no use for them.
func ipipDecap(local netip.Addr, device int) asm.Instructions {
	const ecn = asm.R7
	return join(
		asm.Instructions{
			asm.Mov.Reg(ctx, asm.R1),
			asm.LoadMem(asm.R2, ctx, skbProtocol, asm.Word),
			asm.JNE.Imm(asm.R2, network(etherTypeIPv4), "next"),
			asm.LoadMem(asm.R2, ctx, skbPktType, asm.Word),
			asm.JNE.Imm(asm.R2, 0, "next"), // it is for another machine
		},
		loadBytes(ethernet, outer, headerLen, "next"),
		asm.Instructions{
			asm.LoadMem(asm.R2, asm.RFP, outer+ipProtocol, asm.Byte),
			asm.JNE.Imm(asm.R2, protocolIPIP, "next"),
			asm.LoadMem(asm.R2, asm.RFP, outer+ipDest, asm.Word),
			asm.Mov.Imm32(asm.R3, word(local)),
			asm.JNE.Reg(asm.R2, asm.R3, "next"),
			asm.LoadMem(asm.R2, asm.RFP, outer, asm.Byte),
			asm.JNE.Imm(asm.R2, 0x45, "next"),
			asm.LoadMem(asm.R2, asm.RFP, outer+ipFragment, asm.Half),
			asm.And.Imm(asm.R2, network(0x3fff)),
			asm.JNE.Imm(asm.R2, 0, "next"),
			asm.LoadMem(ecn, asm.RFP, outer+ipTOS, asm.Byte),
			asm.And.Imm(ecn, 3),
		},
		adjustRoom(-headerLen, fixedGSO),
		asm.Instructions{
			asm.JNE.Imm(asm.R0, 0, "drop"),
			asm.JNE.Imm(ecn, 3, "arrive"),
			// Congestion experienced on the way: the inner packet says so, or is dropped where it cannot (RFC 6040).
			asm.Mov.Reg(asm.R1, ctx),
			asm.FnSkbEcnSetCe.Call(),
			asm.JEq.Imm(asm.R0, 0, "drop"),
		},
		labelled("arrive", redirect(device, intoIngress)),
		verdict("next", next),
		verdict("drop", drop),
	)
}

// zero clears n bytes of the stack, which is a multiple of 8.
func zero(at, n int16) asm.Instructions {
	ins := asm.Instructions{asm.Mov.Imm(asm.R2, 0)}
	for off := int16(0); off < n; off += 8 {
		ins = append(ins, asm.StoreMem(asm.RFP, at+off, asm.R2, asm.DWord))
	}
	return ins
}

// lookup asks for a route and puts a word of the answer into a register; where there is no route the packet is dropped.
// That the next hop's MAC address is not known yet, or the packet is long, is no reason.
func lookup(flags int32, word int16, into asm.Register) asm.Instructions {
	found := fmt.Sprintf("found %d", flags)
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, fib),
		asm.Mov.Imm(asm.R3, fibLen),
		asm.Mov.Imm(asm.R4, flags),
		asm.FnFibLookup.Call(),
		asm.JEq.Imm(asm.R0, 0, found),
		asm.JEq.Imm(asm.R0, noNeighbour, found),
		asm.JNE.Imm(asm.R0, fragNeeded, "drop"),
		asm.LoadMem(into, asm.RFP, fib+word, asm.Word).WithSymbol(found),
	}
}

// adjustRoom makes or removes room between the Ethernet header and what follows.
func adjustRoom(n, flags int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Imm(asm.R2, n),
		asm.Mov.Imm(asm.R3, adjustMAC),
		asm.Mov.Imm(asm.R4, flags),
		asm.FnSkbAdjustRoom.Call(),
	}
}

// checksum sets the checksum of the IPv4 header on the stack, where it is 0 so far: the ones' complement sum of 16-bit
// words may be taken over 32-bit words and folded afterwards (RFC 1071).
func checksum(header int16) asm.Instructions {
	const sum, part = asm.R2, asm.R3
	ins := asm.Instructions{asm.LoadMem(sum, asm.RFP, header, asm.Word)}
	for off := int16(4); off < headerLen; off += 4 {
		ins = append(ins, asm.LoadMem(part, asm.RFP, header+off, asm.Word), asm.Add.Reg(sum, part))
	}
	for range 3 {
		ins = append(ins, asm.Mov.Reg(part, sum), asm.RSh.Imm(part, 16), asm.And.Imm(sum, 0xffff), asm.Add.Reg(sum, part))
	}
	return append(ins, asm.Xor.Imm(sum, 0xffff), asm.StoreMem(asm.RFP, header+ipChecksum, sum, asm.Half))
}
