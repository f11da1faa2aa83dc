package plan

import (
	"fmt"
	"net/netip"
)

var FeatureGENEVE = feature("geneve")

// GENEVE is a GENEVE tunnel to one far end.
type GENEVE struct {
	VNI    int
	Remote netip.Addr
	Port   int
}

func (GENEVE) Type() string         { return "geneve" }
func (GENEVE) Encapsulates() string { return "geneve" }
func (GENEVE) merges()              {}
func (g GENEVE) settings() string {
	return fmt.Sprintf(" id %d remote %s dstport %d", g.VNI, g.Remote, g.Port)
}
