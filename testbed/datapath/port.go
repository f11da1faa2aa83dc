package datapath

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/asm"

	"labnet/lab/plan"
)

// A switch whose bridge knows nothing of VLANs is one segment inside. What keeps its VLANs apart is at its ports: there each
// frame gets the tag of its port's VLAN when it comes in, and goes out only where its VLAN belongs.

const lastVLAN = 4094

// port writes the programs of a switch's port: an access port's, where VLAN is set, or that of a port in the switch's own
// segment, with the VLANs of its trunk.
func port(p plan.Program) (asm.Instructions, error) {
	trunk, err := trunkOf(p.Trunk)
	switch {
	case err != nil:
		return nil, err
	case p.VLAN < 0 || p.VLAN > lastVLAN:
		return nil, fmt.Errorf("%s needs a VLAN from 1 to %d, or none", p.Does, lastVLAN)
	case p.VLAN != 0 && len(trunk) > 0:
		return nil, fmt.Errorf("%s is for a port in one VLAN or for a trunk, not for both", p.Does)
	case p.VLAN == 0:
		return trunkPort(trunk), nil
	case p.Does == "port-ingress":
		return accessIn(p.VLAN), nil
	}
	return accessOut(p.VLAN), nil
}

func trunkOf(list string) ([]int, error) {
	if list == "" {
		return nil, nil
	}
	var trunk []int
	for word := range strings.SplitSeq(list, ",") {
		id, err := strconv.Atoi(word)
		if err != nil || id < 1 || id > lastVLAN {
			return nil, fmt.Errorf("%q is no VLAN from 1 to %d", word, lastVLAN)
		}
		trunk = append(trunk, id)
	}
	return trunk, nil
}

// accessIn gives frames their port's tag. One that has it already is let in, as a bridge with VLANs does; one that has another
// is not for this port.
func accessIn(id int) asm.Instructions {
	return join(
		loadVLAN("untagged"),
		asm.Instructions{
			asm.JEq.Imm(asm.R2, int32(id), "next"),
			asm.Ja.Label("drop"),
		},
		labelled("untagged", asm.Instructions{
			asm.Mov.Reg(asm.R1, ctx),
			asm.Mov.Imm(asm.R2, network(etherTypeVLAN)),
			asm.Mov.Imm(asm.R3, int32(id)),
			asm.FnSkbVlanPush.Call(),
			asm.JNE.Imm(asm.R0, 0, "drop"),
		}),
		verdict("next", next),
		verdict("drop", drop),
	)
}

// accessOut takes the tag off frames of the port's VLAN. No others go out.
func accessOut(id int) asm.Instructions {
	return join(
		loadVLAN("drop"),
		asm.Instructions{
			asm.JNE.Imm(asm.R2, int32(id), "drop"),
			asm.Mov.Reg(asm.R1, ctx),
			asm.FnSkbVlanPop.Call(),
			asm.JNE.Imm(asm.R0, 0, "drop"),
		},
		verdict("next", next),
		verdict("drop", drop),
	)
}

// trunkPort lets frames without a tag pass, and those of its VLANs.
func trunkPort(trunk []int) asm.Instructions {
	pass := loadVLAN("next")
	for _, id := range trunk {
		pass = append(pass, asm.JEq.Imm(asm.R2, int32(id), "next"))
	}
	return join(pass, verdict("drop", drop), verdict("next", next))
}

// loadVLAN begins a program with the frame's VLAN in R2; a frame without a tag goes to none, and one with a tag of another
// kind has a number that is no VLAN's.
func loadVLAN(none string) asm.Instructions {
	return join(
		asm.Instructions{
			asm.Mov.Reg(ctx, asm.R1),
			asm.LoadMem(asm.R2, ctx, skbVLANPresent, asm.Word),
			asm.JEq.Imm(asm.R2, 0, none),
			asm.Mov.Imm(asm.R2, 0),
			asm.LoadMem(asm.R3, ctx, skbVLANProto, asm.Word),
			asm.JNE.Imm(asm.R3, network(etherTypeVLAN), "known"),
			asm.LoadMem(asm.R2, ctx, skbVLANTCI, asm.Word),
			asm.And.Imm(asm.R2, 0xfff),
		},
		labelled("known", asm.Instructions{asm.Mov.Reg(asm.R2, asm.R2)}),
	)
}
