package testbed

import (
	"math"
	"strings"

	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

var qdiscKind = inside[plan.Qdisc]{reads: readQdiscs, sets: setQdisc, removes: removeQdisc}

// readQdiscs reads root qdiscs, with what hangs below them, and ingress qdiscs. Those that the kernel attaches by itself have
// no handle, and are left out.
func readQdiscs(r *reader, v *visit, f *found) error {
	list, err := again(func() ([]netlink.Qdisc, error) { return v.QdiscList(nil) })
	if err != nil {
		return err
	}
	below := map[int]string{} // by link: what hangs below its root
	for _, q := range list {
		if a := q.Attrs(); a.Handle != 0 && a.Parent != netlink.HANDLE_ROOT && a.Parent != netlink.HANDLE_INGRESS {
			below[a.LinkIndex] += " " + q.Type()
		}
	}
	for _, q := range list {
		a := q.Attrs()
		if a.Handle == 0 || a.Parent != netlink.HANDLE_ROOT && a.Parent != netlink.HANDLE_INGRESS {
			continue
		}
		o := plan.Qdisc{Namespace: v.place.Name, Link: f.link(a.LinkIndex), Type: q.Type()}
		if wanted, ok := r.want.Get(o.Key()).(plan.Qdisc); ok && sameQdisc(newQdisc(wanted, a.LinkIndex), q) {
			o = wanted
		}
		if a.Parent == netlink.HANDLE_ROOT {
			o.Type += below[a.LinkIndex] // no lab wants that
		}
		f.add(o)
	}
	return nil
}

// newQdisc is the qdisc as netlink wants it. The kernel keeps times in ticks, so only this form can be compared.
func newQdisc(q plan.Qdisc, index int) netlink.Qdisc {
	a := netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	switch q.Type {
	case "clsact":
		a.Handle, a.Parent = netlink.MakeHandle(0xffff, 0), netlink.HANDLE_CLSACT
	case "tbf":
		return &netlink.Tbf{QdiscAttrs: a, Rate: q.Rate / 8, Limit: q.Limit, Buffer: netlink.Xmittime(q.Rate/8, q.Burst)}
	case "netem":
		return netlink.NewNetem(a, netlink.NetemQdiscAttrs{
			Latency: q.DelayUS, Jitter: q.JitterUS, Limit: q.Limit, Loss: float32(q.LossPPM) / 1e4, Rate64: q.Rate / 8,
		})
	}
	return &netlink.GenericQdisc{QdiscAttrs: a, QdiscType: q.Type}
}

func sameQdisc(want, got netlink.Qdisc) bool {
	switch want := want.(type) {
	case *netlink.Tbf:
		got, ok := got.(*netlink.Tbf)
		return ok && want.Rate == got.Rate && want.Limit == got.Limit && math.Abs(float64(want.Buffer)-float64(got.Buffer)) <= 1
	case *netlink.Netem:
		got, ok := got.(*netlink.Netem)
		if !ok || lossPPM(want) != lossPPM(got) {
			return false
		}
		rest := *got // what no lab wants has to be absent: duplicates, say
		rest.QdiscAttrs, rest.Loss = want.QdiscAttrs, want.Loss
		return rest == *want
	}
	return want.Type() == got.Type()
}

// lossPPM is the loss in the unit of a plan: tc and netlink's library round the kernel's in different ways.
func lossPPM(q *netlink.Netem) int { return int(math.Round(float64(q.Loss) * 1e6 / math.MaxUint32)) }

func setQdisc(_ *applier, v *visit, o, _ plan.Qdisc) error {
	index, err := v.link(o.Link)
	if err != nil {
		return err
	}
	return v.QdiscReplace(newQdisc(o, index))
}

func removeQdisc(_ *applier, v *visit, o plan.Qdisc) error {
	index, err := v.link(o.Link)
	if err != nil {
		return err
	}
	kind, _, _ := strings.Cut(o.Type, " ") // what hangs below it goes along
	parent := uint32(netlink.HANDLE_ROOT)
	if kind == "ingress" || kind == "clsact" {
		parent = netlink.HANDLE_INGRESS
	}
	return v.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Parent: parent}, QdiscType: kind})
}

var qdiscProbes = []probe{
	{plan.FeatureTBF, []string{"sch_tbf"}, func(h *netlink.Handle) error {
		return h.QdiscReplace(newQdisc(plan.Qdisc{Type: "tbf", Rate: 1e9, Burst: 15000, Limit: 1 << 20}, loopback))
	}},
	{plan.FeatureNetem, []string{"sch_netem"}, func(h *netlink.Handle) error {
		q := newQdisc(plan.Qdisc{Type: "netem", DelayUS: 1, Limit: 1000}, loopback)
		q.Attrs().Handle = netlink.MakeHandle(2, 0) // the first is taken by tbf, and a handle keeps its kind
		return h.QdiscReplace(q)
	}},
}
