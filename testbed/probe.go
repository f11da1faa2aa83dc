package testbed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/testbed/netfilter"
)

// Probe asks the kernel what it has, by trying it in a namespace that is thrown away. Unless load is set it tries nothing
// that would make the kernel load a module.
func Probe(load bool) (plan.Features, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	f := plan.Features{}
	err := travel(func(t *traveller) error {
		t.stray = true
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a namespace to probe the kernel in: %w", err)
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		for _, p := range probes {
			if !load && !present(p.modules) {
				continue
			}
			if err := p.try(h); err == nil {
				f[p.feature] = true
			} else if errors.Is(err, unix.EPERM) && p.feature == plan.FeatureEBPF {
				f[plan.BPFRefused] = true
			} else if errors.Is(err, unix.EPERM) {
				return fmt.Errorf("probing the kernel for %s: %w", p.feature, err)
			}
		}
		return nil
	})
	return f, err
}

var probes = []struct {
	feature plan.Feature
	modules []string
	try     func(*netlink.Handle) error
}{
	{plan.FeatureBridge, []string{"bridge"}, func(h *netlink.Handle) error {
		return h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("probe0")})
	}},
	{plan.FeatureVeth, []string{"veth"}, func(h *netlink.Handle) error {
		return h.LinkAdd(&netlink.Veth{LinkAttrs: attrs("probe1"), PeerName: "probe2"})
	}},
	{plan.FeatureVXLAN, []string{"vxlan"}, func(h *netlink.Handle) error {
		return h.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs("probe3"), VxlanId: 1, Port: 4789})
	}},
	{plan.FeatureIPIP, []string{"ipip"}, func(h *netlink.Handle) error {
		return h.LinkAdd(&netlink.Iptun{LinkAttrs: attrs("probe4"), Local: net.IPv4(192, 0, 2, 1)})
	}},
	{plan.FeatureVLAN, []string{"8021q"}, func(h *netlink.Handle) error {
		return on(h, "probe5", func(a netlink.LinkAttrs) netlink.Link { return &netlink.Vlan{LinkAttrs: a, VlanId: 1} })
	}},
	{plan.FeatureMACVLAN, []string{"macvlan"}, func(h *netlink.Handle) error {
		return on(h, "probe6", func(a netlink.LinkAttrs) netlink.Link {
			return &netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_BRIDGE}
		})
	}},
	{plan.FeatureIPVLAN, []string{"ipvlan"}, func(h *netlink.Handle) error {
		return on(h, "probe7", func(a netlink.LinkAttrs) netlink.Link {
			return &netlink.IPVlan{LinkAttrs: a, Mode: netlink.IPVLAN_MODE_L2}
		})
	}},
	{plan.FeatureTUN, []string{"tun"}, func(*netlink.Handle) error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}},
	{plan.FeatureVLANFiltering, []string{"bridge"}, func(h *netlink.Handle) error {
		filtering := true
		return h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("probe8"), VlanFiltering: &filtering})
	}},
	{plan.FeatureTBF, []string{"sch_tbf"}, func(h *netlink.Handle) error {
		return h.QdiscReplace(newQdisc(plan.Qdisc{Type: "tbf", Rate: 1e9, Burst: 15000, Limit: 1 << 20}, loopback))
	}},
	{plan.FeatureNetem, []string{"sch_netem"}, func(h *netlink.Handle) error {
		q := newQdisc(plan.Qdisc{Type: "netem", DelayUS: 1, Limit: 1000}, loopback)
		q.Attrs().Handle = netlink.MakeHandle(2, 0) // the first is taken by tbf, and a handle keeps its kind
		return h.QdiscReplace(q)
	}},
	{plan.FeatureNFTables, []string{"nf_tables", "nft_chain_nat", "nft_masq"}, func(*netlink.Handle) error {
		conn, err := netfilter.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		r := nft.NewRuleset(nft.IPv4, "probe")
		r.Base("c", "nat", nft.Postrouting, nft.PrioritySNAT)
		r.Rule("c", nft.Masquerade(0))
		return conn.Do(context.Background(), netfilter.Steps(r), func(int) {})
	}},
	{plan.FeatureEBPF, []string{"ifb", "sch_ingress", "cls_bpf"}, programmable},
	{plan.FeatureBridgeNetfilter, nil, func(*netlink.Handle) error {
		_, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables")
		return err
	}},
}

// on makes a device that stands on a veth.
func on(h *netlink.Handle, name string, device func(netlink.LinkAttrs) netlink.Link) error {
	below := attrs(name + "below")
	if err := h.LinkAdd(&netlink.Veth{LinkAttrs: below, PeerName: name + "peer"}); err != nil {
		return err
	}
	lower, err := h.LinkByName(below.Name)
	if err != nil {
		return err
	}
	a := attrs(name)
	a.ParentIndex = lower.Attrs().Index
	return h.LinkAdd(device(a))
}

// programmable tries all programs there are. Where bpf() is not permitted, the rest of lab may be.
func programmable(h *netlink.Handle) error {
	if err := h.LinkAdd(&netlink.Ifb{LinkAttrs: attrs("probe9")}); err != nil {
		return err
	}
	device, err := h.LinkByName("probe9")
	if err != nil {
		return err
	}
	index := device.Attrs().Index
	if err := h.QdiscReplace(newQdisc(plan.Qdisc{Type: "clsact"}, index)); err != nil {
		return err
	}
	local := netip.AddrFrom4([4]byte{192, 0, 2, 1})
	for i, does := range []string{"ipip-encap", "ipip-decap", "vlan-push", "vlan-pop", "bridge-enter"} {
		p := plan.Program{Link: "probe9", Priority: i + 1, Does: does, To: "probe9", Local: local, VLAN: 1}
		if err := attach(h, p, func(string) (int, error) { return index, nil }); err != nil {
			return err
		}
	}
	return nil
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// present reports whether the modules are loaded or built in, so that trying what they do loads nothing.
func present(modules []string) bool {
	loaded, err := os.ReadFile("/proc/modules")
	if errors.Is(err, os.ErrNotExist) {
		return true // a kernel without modules
	}
	builtin, _ := os.ReadFile(filepath.Join("/lib/modules", Kernel(), "modules.builtin"))
	for _, m := range modules {
		_, err := os.Stat("/sys/module/" + m)
		if err != nil && !strings.Contains("\n"+string(loaded), "\n"+m+" ") && !strings.Contains(string(builtin), "/"+m+".ko") {
			return false
		}
	}
	return true
}

// Kernel is the running kernel's release.
func Kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Capacity refuses a plan that this machine cannot bear: limits of the kernel that all namespaces share.
func Capacity(s *plan.State) error {
	namespaces := len(s.Namespaces())
	if limit, err := os.ReadFile("/proc/sys/user/max_net_namespaces"); err == nil {
		var most int
		if _, err := fmt.Sscan(string(limit), &most); err == nil && namespaces > most {
			return fmt.Errorf("the lab needs %d network namespaces, and this machine allows %d; raise it with \"sysctl -w user.max_net_namespaces=%d\"", namespaces, most, namespaces+1000)
		}
	}
	var m unix.Sysinfo_t
	if err := unix.Sysinfo(&m); err != nil {
		return err
	}
	// A namespace with its links takes about 300 KiB of kernel memory.
	const each = 300 << 10
	if need, free := uint64(namespaces)*each, (uint64(m.Freeram)+uint64(m.Bufferram))*uint64(m.Unit); need > free+cached() {
		return fmt.Errorf("the lab needs about %d MiB of kernel memory for its %d namespaces, and %d MiB are free; make it smaller", need>>20, namespaces, (free+cached())>>20)
	}
	return nil
}

// Crowded warns of a plan for which the neighbour tables of this machine are too small. All namespaces share them, and their
// limits are to be found in the first one only; what is no longer in a full table is not answered, and nobody is told.
func Crowded(s *plan.State) string {
	v4, v6 := s.Neighbours()
	return crowded([]table{{"IPv4", "net.ipv4", v4}, {"IPv6", "net.ipv6", v6}}, func(sysctl string) int {
		var limit int
		if text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(sysctl, ".", "/")); err != nil {
			return math.MaxInt // not for us to see
		} else if _, err := fmt.Sscan(string(text), &limit); err != nil {
			return math.MaxInt
		}
		return limit
	})
}

type table struct {
	family, sysctl string
	needs          int
}

func crowded(tables []table, limit func(sysctl string) int) string {
	var short, remedy []string
	for _, t := range tables {
		sysctl := t.sysctl + ".neigh.default.gc_thresh3"
		if most := limit(sysctl); t.needs > most {
			short = append(short, fmt.Sprintf("%d of %s, and this machine keeps %d", t.needs, t.family, most))
			// With room for what else is on the machine; a power of two, as people write them.
			remedy = append(remedy, fmt.Sprintf("%s=%d", sysctl, 1<<bits.Len(uint(t.needs+t.needs/4))))
		}
	}
	if len(short) == 0 {
		return ""
	}
	return fmt.Sprintf("Once all of this lab talks it has more neighbours than there is room for: %s, for all namespaces together. Packets will then get lost. Make room with \"sysctl -w %s\".",
		strings.Join(short, "; "), strings.Join(remedy, " "))
}

// cached is memory that the kernel gives back when asked.
func cached() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kib uint64
		if _, err := fmt.Sscanf(line, "Cached: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
