package plan

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// Mode is a way of connecting the pods of one network. It is pure: it computes, and touches no kernel.
type Mode interface {
	// About says in one line what the mode does.
	About() string
	// Decode reads a mode block into a new value; body is empty where the file has no such block.
	Decode(body hcl.Body, ctx *hcl.EvalContext) (Mode, hcl.Diagnostics)
	// Needs lists what the kernel must have, or what can stand in for it.
	Needs(*Net) []Need
	// Allocate sets every member's PodCIDRs and the Addresses of its pods' interfaces.
	Allocate(*Net) hcl.Diagnostics
	// Plan adds to the state what distinguishes the mode: namespaces and uplinks are already there.
	Plan(*Net, *State) hcl.Diagnostics
	// Expect says what becomes of packets to or from a pod.
	Expect(*Net, Flow) Expectation
}

// Joiner is a mode whose pods are on a segment of the underlay, as machines are. The pod network may then lie in a subnet of
// that segment.
type Joiner interface {
	Joins(*Net, lab.Segment) bool
}

// Detour is a Joiner whose pods may have a second way, to their own node, for what they send to services.
type Detour interface {
	ServiceVeth() bool
}

// Publisher is a mode whose pods' ports are published by what attaches the pods: it says how that is asked for.
type Publisher interface {
	Publishing() string
}

// Modes lists modes by name, in the order in which people are shown them.
type Modes []struct {
	Name string
	Mode Mode
}

// Get returns the mode of that name, or nil.
func (m Modes) Get(name string) Mode {
	for _, e := range m {
		if e.Name == name {
			return e.Mode
		}
	}
	return nil
}

// Names returns the modes' names.
func (m Modes) Names() []string {
	names := make([]string, len(m))
	for i, e := range m {
		names[i] = e.Name
	}
	return names
}

// Need is something that a lab cannot do without.
type Need struct {
	Feature Feature
	Or      Feature   // does the same where the kernel lacks Feature, or where a node asks for it; empty: nothing does
	By      string    // what needs it: "switch lan"; a mode leaves it out
	At      hcl.Range // where that is written
}

// Feature is something a kernel may have or lack.
type Feature string

const (
	FeatureTBF      Feature = "tbf"
	FeatureNetem    Feature = "netem"
	FeatureNFTables Feature = "nftables"
	// FeatureIPTables is iptables' own matches and targets in rules of nftables.
	FeatureIPTables Feature = "iptables"
	// FeatureIPVS is all that kube-proxy's ipvs proxy needs, with the scheduler rr: IPVS, ipsets, rules that ask these, and a dummy
	// device.
	FeatureIPVS Feature = "ipvs"
	// IPVSRefused is why a kernel that has the rest of FeatureIPVS lacks it: IPVS is for the machine's root alone.
	IPVSRefused Feature = "ipvs_refused"
	// FeatureMemory, FeatureCPU and FeaturePIDs are controllers of cgroup v2 that are passed on to lab.
	FeatureMemory Feature = "cgroup_memory"
	FeatureCPU    Feature = "cgroup_cpu"
	FeaturePIDs   Feature = "cgroup_pids"
	// CgroupRefused is why there is none of them for this user: no cgroup is the user's.
	CgroupRefused Feature = "cgroup_refused"
	// FeatureVLANFiltering is a bridge that knows VLANs.
	FeatureVLANFiltering Feature = "vlan_filtering"
	// FeatureBridgeNetfilter is br_netfilter: bridged packets pass the firewall when a sysctl says so.
	FeatureBridgeNetfilter Feature = "br_netfilter"
	// FeatureEBPF is all that the eBPF datapath needs: ifb devices, clsact and tc programs.
	FeatureEBPF Feature = "ebpf"
	// BPFRefused is why a kernel that has the rest of FeatureEBPF lacks it: bpf(2) is not permitted.
	BPFRefused Feature = "bpf_refused"
	// TUNRefused is why a kernel that has TUN devices has none for this user: /dev/net/tun is not his to open.
	TUNRefused Feature = "tun_refused"
)

// features lists all of them. Those of a type of link stand beside it: see [feature].
var features = []Feature{FeatureTBF, FeatureNetem, FeatureNFTables, FeatureIPTables, FeatureIPVS, FeatureVLANFiltering, FeatureBridgeNetfilter, FeatureEBPF, FeatureMemory, FeatureCPU, FeaturePIDs}

// IPVSModules are those that have FeatureIPVS, besides those of FeatureIPTables.
var IPVSModules = []string{"ip_vs", "ip_vs_rr", "ip_set", "ip_set_hash_ip", "ip_set_hash_ipport", "ip_set_hash_ipportip", "ip_set_hash_ipportnet", "ip_set_bitmap_port", "xt_set", "dummy"}

// SchedulerFeature is a scheduler of IPVS, which is a module of its own.
func SchedulerFeature(name string) Feature { return Feature("ip_vs_" + name) }

func init() {
	for _, name := range lab.Schedulers {
		feature(SchedulerFeature(name))
	}
}

// feature is one that is called as the module which has it.
func feature(module Feature) Feature {
	features = append(features, module)
	return module
}

// limits reports whether the feature is a limit's.
func (f Feature) limits() bool { return f == FeatureMemory || f == FeatureCPU || f == FeaturePIDs }

// lacking says that the feature is not there.
func (f Feature) lacking() string {
	if f.limits() {
		return fmt.Sprintf("No %s controller of cgroup v2 is passed on to lab", strings.TrimPrefix(string(f), "cgroup_"))
	}
	return fmt.Sprintf("The kernel has no %s", f)
}

// remedy says what a person does about a kernel that lacks the feature.
func (f Feature) remedy() string {
	switch f {
	case FeatureTBF:
		return "Load the module with \"modprobe sch_tbf\", or use a kernel built with CONFIG_NET_SCH_TBF."
	case FeatureNetem:
		return "Load the module with \"modprobe sch_netem\" (Debian: in linux-image-amd64, not in the cloud kernel), or use a kernel built with CONFIG_NET_SCH_NETEM."
	case FeatureNFTables:
		return "Load the modules with \"modprobe -a nf_tables nft_masq nft_chain_nat\", or use a kernel built with CONFIG_NF_TABLES and CONFIG_NFT_MASQ."
	case FeatureIPTables:
		return "Load the modules with \"modprobe -a nft_compat xt_comment xt_conntrack xt_addrtype xt_statistic xt_recent xt_mark xt_nat xt_MASQUERADE ipt_REJECT ip6t_REJECT xt_tcpudp\", or use a kernel built with CONFIG_NFT_COMPAT and those."
	case FeatureIPVS:
		return "Load the modules with \"modprobe -a " + strings.Join(IPVSModules, " ") + "\" (Debian: in linux-image-amd64, not in the cloud kernel), or use a kernel built with CONFIG_IP_VS, CONFIG_IP_SET, CONFIG_NETFILTER_XT_SET, CONFIG_DUMMY and those."
	case FeatureMemory, FeatureCPU, FeaturePIDs:
		controller := strings.TrimPrefix(string(f), "cgroup_")
		return fmt.Sprintf("Boot with cgroup v2 alone (systemd.unified_cgroup_hierarchy=1 on the kernel's command line), and let its root pass the controller on: \"echo +%s > /sys/fs/cgroup/cgroup.subtree_control\". Or leave the limit out.", controller)
	case FeatureVLANFiltering:
		return "Use a kernel built with CONFIG_BRIDGE_VLAN_FILTERING."
	case FeatureEBPF:
		return "Load the modules with \"modprobe -a ifb sch_ingress cls_bpf\", or use a kernel built with CONFIG_IFB, CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF and CONFIG_BPF_SYSCALL."
	}
	return "Load the module with \"modprobe " + string(f) + "\", or use a kernel that has it."
}

// Features says what a kernel has.
type Features map[Feature]bool

// Remedy says what a person does about a need that is not met, by the feature or by what would stand in for it.
func (f Features) Remedy(n Need) string {
	switch {
	case f[BPFRefused] && (n.Feature == FeatureEBPF || n.Or == FeatureEBPF):
		return "The system call bpf() is refused (EPERM), or eBPF would stand in for it: let the container's seccomp profile and capabilities (CAP_BPF) permit it; in a user namespace, which is what lab works in without root, it never is: run lab as root, or on a kernel that has the device."
	case f[IPVSRefused] && n.Feature == FeatureIPVS:
		return "IPVS is for root of the machine alone, not of a user namespace, which is what lab works in without root: run lab as root."
	case f[CgroupRefused] && n.Feature.limits():
		return "No cgroup here is yours to make others in. Run lab in a scope of your own, \"systemd-run --user --scope -p Delegate=yes lab up …\", or as root. Or leave the limit out."
	case f[TUNRefused] && n.Feature == FeatureTUN:
		return "/dev/net/tun is for others to open: let an administrator say \"chmod 0666 /dev/net/tun\", as most distributions do, or run lab as root."
	case n.Or == "":
		return n.Feature.remedy()
	}
	return fmt.Sprintf("%s Or let %s stand in for it: %s", n.Feature.remedy(), n.Or, n.Or.remedy())
}

// Meets reports whether the kernel has what is needed, or what stands in for it.
func (f Features) Meets(n Need) bool { return f[n.Feature] || f[n.Or] }

// AllFeatures is the kernel a plan is made for where none can be asked.
func AllFeatures() Features {
	all := Features{}
	for _, f := range features {
		all[f] = true
	}
	return all
}

// Datapath is what carries a node's packets.
type Datapath string

const (
	Kernel Datapath = "kernel" // the kernel's own devices
	EBPF   Datapath = "ebpf"   // programs of ours at the devices' tc hooks
	User   Datapath = "agent"  // a process
)

// Emulates reports whether eBPF has to do on the node what the kernel's device would: the kernel has none, or the node
// asks for it.
func (n *Node) Emulates(device Feature, f Features) bool {
	return !f[device] || Datapath(n.Datapath) == EBPF && f[FeatureEBPF]
}

// Datapaths returns what carries packets in each namespace.
func (s *State) Datapaths() map[string]Datapath {
	found := map[string]Datapath{}
	for k, o := range s.all() {
		datapath := Kernel
		switch o := o.(type) {
		case Program:
			datapath = EBPF
		case Link:
			if tun, ok := o.Device.(TUN); ok && tun.Agent != "" {
				datapath = User
			}
		}
		if found[k.Namespace] == "" || datapath != Kernel {
			found[k.Namespace] = datapath
		}
	}
	return found
}
