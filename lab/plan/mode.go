package plan

import (
	"github.com/hashicorp/hcl/v2"
)

// Mode is a way of connecting pods. It is pure: it computes, and touches no kernel.
type Mode interface {
	// About says in one line what the mode does.
	About() string
	// Decode reads a mode block into a new value; body is empty where the file has no such block.
	Decode(body hcl.Body, ctx *hcl.EvalContext) (Mode, hcl.Diagnostics)
	// Needs lists what the kernel must have.
	Needs(*Cluster) []Feature
	// Allocate sets every node's PodCIDRs and every pod's Addresses.
	Allocate(*Cluster) hcl.Diagnostics
	// Plan adds to the state what distinguishes the mode: namespaces and uplinks are already there.
	Plan(*Cluster, Features, *State) hcl.Diagnostics
	// Expect says what becomes of packets between two endpoints of one family.
	Expect(c *Cluster, from, to Endpoint) Expectation
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

// Feature is something a kernel may have or lack.
type Feature string

const (
	FeatureBridge   Feature = "bridge"
	FeatureVeth     Feature = "veth"
	FeatureVXLAN    Feature = "vxlan"
	FeatureTBF      Feature = "tbf"
	FeatureNetem    Feature = "netem"
	FeatureNFTables Feature = "nftables"
	// FeatureBridgeNetfilter is br_netfilter: bridged packets pass the firewall when a sysctl says so.
	FeatureBridgeNetfilter Feature = "br_netfilter"
)

// Remedy says what a person does about a kernel that lacks the feature.
func (f Feature) Remedy() string {
	switch f {
	case FeatureTBF:
		return "Load the module with \"modprobe sch_tbf\", or use a kernel built with CONFIG_NET_SCH_TBF."
	case FeatureNetem:
		return "Load the module with \"modprobe sch_netem\" (Debian: in linux-image-amd64, not in the cloud kernel), or use a kernel built with CONFIG_NET_SCH_NETEM."
	case FeatureNFTables:
		return "Load the modules with \"modprobe -a nf_tables nft_masq nft_chain_nat\", or use a kernel built with CONFIG_NF_TABLES and CONFIG_NFT_MASQ."
	}
	return "Load the module with \"modprobe " + string(f) + "\", or use a kernel that has it."
}

// Features says what a kernel has.
type Features map[Feature]bool

// AllFeatures is the kernel a plan is made for where none can be asked.
func AllFeatures() Features {
	return Features{FeatureBridge: true, FeatureVeth: true, FeatureVXLAN: true, FeatureTBF: true, FeatureNetem: true, FeatureNFTables: true, FeatureBridgeNetfilter: true}
}
