// Package datapath writes the eBPF programs that stand in for devices which a kernel lacks. It only writes them; package
// testbed loads and attaches them.
//
// A program works with constants alone and has no map: where packets go is asked of the kernel's own routes, so that
// these stay the one truth, and a program in the kernel is told from another by the tag of its instructions.
package datapath

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"

	"github.com/cilium/ebpf/asm"

	"labnet/lab/plan"
)

// License is what programs say they are under: the kernel lends some of its functions only to such.
const License = "GPL"

// Program writes a program. index tells the number of a device in the program's namespace.
func Program(p plan.Program, index func(device string) (int, error)) (asm.Instructions, error) {
	to := 0
	if p.To != "" {
		var err error
		if to, err = index(p.To); err != nil {
			return nil, err
		}
	}
	switch p.Does {
	case "ipip-encap":
		if !p.Local.Is4() {
			return nil, fmt.Errorf("ipip-encap needs the IPv4 address of this end")
		}
		return ipipEncap(p.Local), nil
	case "ipip-decap":
		if !p.Local.Is4() || to == 0 {
			return nil, fmt.Errorf("ipip-decap needs the IPv4 address of this end, and the device where packets arrive")
		}
		return ipipDecap(p.Local, to), nil
	case "bridge-enter":
		if to == 0 {
			return nil, fmt.Errorf("bridge-enter needs the bridge's port that packets go to")
		}
		return bridgeEnter(to), nil
	case "vlan-push", "vlan-pop":
		if p.VLAN < 1 || p.VLAN > 4094 || to == 0 {
			return nil, fmt.Errorf("%s needs a VLAN from 1 to 4094, and the device that packets go to", p.Does)
		}
		if p.Does == "vlan-push" {
			return vlanPush(p.VLAN, to), nil
		}
		return vlanPop(p.VLAN, to), nil
	case "port-ingress", "port-egress":
		return port(p)
	}
	return nil, fmt.Errorf("there is no program %q", p.Does)
}

// HasTag reports whether the kernel gave the tag to just these instructions.
func HasTag(program asm.Instructions, tag string) bool {
	order := binary.ByteOrder(binary.LittleEndian)
	if network(1) == 1 {
		order = binary.BigEndian
	}
	if err := program.Marshal(io.Discard, order); err != nil { // this turns labels into distances, as loading does
		return false
	}
	ok, err := program.HasTag(tag, order)
	return err == nil && ok
}

// Verdicts of a program at a tc hook: linux/pkt_cls.h.
const (
	next = -1 // let the hook's next program see the packet
	drop = 2
)

// Offsets in struct __sk_buff.
const (
	skbPktType     = 4
	skbProtocol    = 16
	skbVLANPresent = 20
	skbVLANTCI     = 24
	skbVLANProto   = 28
	skbCameBy      = 36 // ingress_ifindex
	skbIfindex     = 40
	skbGSOSize     = 176
)

// Values of linux/bpf.h.
const (
	adjustMAC     = 1      // BPF_ADJ_ROOM_MAC
	fixedGSO      = 1      // BPF_F_ADJ_ROOM_FIXED_GSO
	encapIPv4     = 1 << 1 // BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
	intoIngress   = 1      // BPF_F_INGRESS
	lookupOutput  = 1 << 1 // BPF_FIB_LOOKUP_OUTPUT
	noNeighbour   = 7      // BPF_FIB_LKUP_RET_NO_NEIGH
	fragNeeded    = 8      // BPF_FIB_LKUP_RET_FRAG_NEEDED
	ethernet      = 14     // the length of its header
	etherTypeIPv4 = 0x0800
	etherTypeVLAN = 0x8100
)

// ctx is the register that holds the packet throughout.
const ctx = asm.R6

// network is a 16-bit number as it lies in a packet and is then read by this machine.
func network(v uint16) int32 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return int32(binary.NativeEndian.Uint16(b[:]))
}

// word is an IPv4 address as it lies in a packet and is then read by this machine.
func word(a netip.Addr) int32 {
	b := a.As4()
	return int32(binary.NativeEndian.Uint32(b[:]))
}

// loadBytes copies n bytes of the packet to the stack, and goes to fail where it has not as many.
func loadBytes(packet, stack int32, n int32, fail string) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Imm(asm.R2, packet),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stack),
		asm.Mov.Imm(asm.R4, n),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, fail),
	}
}

// redirect ends a program: the packet leaves by a device, or arrives at it.
func redirect(to int, flags int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R1, int32(to)),
		asm.Mov.Imm(asm.R2, flags),
		asm.FnRedirect.Call(),
		asm.Return(),
	}
}

// verdict ends a program; it is what label leads to.
func verdict(label string, v int32) asm.Instructions {
	return labelled(label, asm.Instructions{asm.Mov.Imm(asm.R0, v), asm.Return()})
}

// labelled gives the first of the instructions a label to go to.
func labelled(label string, ins asm.Instructions) asm.Instructions {
	ins[0] = ins[0].WithSymbol(label)
	return ins
}

func join(parts ...asm.Instructions) asm.Instructions {
	var all asm.Instructions
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
