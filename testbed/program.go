package testbed

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed/datapath"
)

var programKind = inside[plan.Program]{
	reads:   readPrograms,
	sets:    func(_ *applier, v *visit, o, _ plan.Program) error { return attach(v.Handle, o, v.link) },
	removes: func(_ *applier, v *visit, o plan.Program) error { return v.detach(o) },
}

// tcHooks are those of a clsact qdisc, by whether they are at the egress.
var tcHooks = map[bool]uint32{false: netlink.HANDLE_MIN_INGRESS, true: netlink.HANDLE_MIN_EGRESS}

// attach loads a program and puts it at its hook. From then on the hook holds it.
func attach(h *netlink.Handle, p plan.Program, index func(device string) (int, error)) error {
	link, err := index(p.Link)
	if err != nil {
		return err
	}
	instructions, err := datapath.Program(p, index)
	if err != nil {
		return err
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: strings.ReplaceAll(p.Does, "-", "_"), Type: ebpf.SchedCLS, Instructions: instructions, License: datapath.License,
	})
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("the kernel refuses bpf() (%w): it takes CAP_BPF and CAP_NET_ADMIN, and a kernel that is not locked down; a kernel with the device itself needs no program", err)
	}
	if err != nil {
		return fmt.Errorf("loading %s: %w", p.Does, err)
	}
	defer program.Close()
	return h.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: link, Parent: tcHooks[p.Egress], Priority: uint16(p.Priority), Protocol: unix.ETH_P_ALL},
		Fd:          program.FD(), Name: p.Does, DirectAction: true,
	})
}

// detach removes whatever is at the program's place.
func (v *visit) detach(p plan.Program) error {
	link, err := v.link(p.Link)
	if err != nil {
		return err
	}
	req, err := v.request(unix.RTM_DELTFILTER, unix.NLM_F_ACK)
	if err != nil {
		return err
	}
	req.AddData(&nl.TcMsg{Ifindex: int32(link), Parent: tcHooks[p.Egress], Info: uint32(p.Priority) << 16})
	if p.Chain != 0 {
		req.AddData(nl.NewRtAttr(nl.TCA_CHAIN, nl.Uint32Attr(uint32(p.Chain))))
	}
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// readPrograms reads what is at the hooks of links that have any. A place where something else is than just the wanted program
// is a program that no plan wants.
func readPrograms(r *reader, v *visit, f *found) error {
	for _, o := range f.objects {
		q, ok := o.(plan.Qdisc)
		if !ok || q.Type != "clsact" {
			continue
		}
		for egress, parent := range tcHooks {
			filters, err := v.filters(v.index[q.Link], parent)
			if err != nil {
				return err
			}
			at := map[plan.Key]int{}
			var places []plan.Program
			for _, filter := range filters {
				p := plan.Program{Namespace: q.Namespace, Link: q.Link, Egress: egress, Priority: filter.priority, Chain: filter.chain}
				wanted, _ := r.want.Get(p.Key()).(plan.Program)
				if i, taken := at[p.Key()]; taken {
					places[i] = foreign(places[i], filter)
				} else if at[p.Key()] = len(places); filter.runs(wanted, v.known) {
					places = append(places, wanted)
				} else {
					places = append(places, foreign(p, filter))
				}
			}
			for _, p := range places {
				f.add(p)
			}
		}
	}
	return nil
}

// foreign is a place where such a filter is, beside what else is there.
func foreign(p plan.Program, f filter) plan.Program {
	does := f.kind
	if f.name != "" {
		does += " " + f.name
	}
	if p.Does != "" {
		does = p.Does + " and " + does
	}
	return plan.Program{Namespace: p.Namespace, Link: p.Link, Egress: p.Egress, Priority: p.Priority, Chain: p.Chain, Does: does}
}

// known returns the index of a device that was read.
func (v *visit) known(device string) (int, error) {
	if i, ok := v.index[device]; ok {
		return i, nil
	}
	return 0, netlink.LinkNotFoundError{}
}

// filter is what a tc hook has.
type filter struct {
	priority, chain int
	protocol        uint16
	kind            string
	name, tag       string // of a BPF program
	directAction    bool
}

// runs reports whether the filter is that program, instruction by instruction.
func (f filter) runs(p plan.Program, index func(string) (int, error)) bool {
	if p.Does == "" || f.kind != "bpf" || f.name != p.Does || !f.directAction || f.protocol != unix.ETH_P_ALL {
		return false
	}
	instructions, err := datapath.Program(p, index)
	return err == nil && datapath.HasTag(instructions, f.tag)
}

// filters lists what is at a hook.
func (v *visit) filters(link int, parent uint32) ([]filter, error) {
	header := (&nl.TcMsg{Ifindex: int32(link), Parent: parent}).Serialize()
	messages, err := v.dump(unix.RTM_GETTFILTER, unix.RTM_NEWTFILTER, header)
	if err != nil {
		return nil, err
	}
	var filters []filter
	for _, m := range messages {
		info := nl.DeserializeTcMsg(m).Info
		f := filter{priority: int(info >> 16), protocol: nl.Swap16(uint16(info))}
		real := false // each place begins with a message that only says that it is there
		err := attributes(m[nl.SizeofTcMsg:], func(kind uint16, value []byte) {
			switch kind {
			case nl.TCA_KIND:
				f.kind = text(value)
			case nl.TCA_CHAIN:
				f.chain = number(value)
			case nl.TCA_OPTIONS:
				real = true
				if f.kind == "bpf" {
					f.bpf(value)
				}
			}
		})
		if err != nil {
			return nil, err
		}
		if real {
			filters = append(filters, f)
		}
	}
	return filters, nil
}

func (f *filter) bpf(options []byte) {
	_ = attributes(options, func(kind uint16, value []byte) {
		switch kind {
		case nl.TCA_BPF_NAME:
			f.name = text(value)
		case nl.TCA_BPF_TAG:
			f.tag = hex.EncodeToString(value)
		case nl.TCA_BPF_FLAGS:
			f.directAction = uint32(number(value))&nl.TCA_BPF_FLAG_ACT_DIRECT != 0
		}
	})
}

var programProbes = []probe{{plan.FeatureEBPF, []string{"ifb", "sch_ingress", "cls_bpf"}, programmable}}

// programmable tries all programs there are. Where bpf() is not permitted, the rest of lab may be.
func programmable(h *netlink.Handle) error {
	if err := h.LinkAdd(&netlink.Ifb{LinkAttrs: attrs("probe-ebpf")}); err != nil {
		return err
	}
	device, err := h.LinkByName("probe-ebpf")
	if err != nil {
		return err
	}
	index := device.Attrs().Index
	if err := h.QdiscReplace(newQdisc(plan.Qdisc{Type: "clsact"}, index)); err != nil {
		return err
	}
	local := netip.AddrFrom4([4]byte{192, 0, 2, 1})
	for i, does := range []string{"ipip-encap", "ipip-decap", "vlan-push", "vlan-pop", "bridge-enter"} {
		p := plan.Program{Link: "probe-ebpf", Priority: i + 1, Does: does, To: "probe-ebpf", Local: local, VLAN: 1}
		if err := attach(h, p, func(string) (int, error) { return index, nil }); err != nil {
			return err
		}
	}
	return nil
}
