package testbed

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// Real returns who may answer for a virtual server of IPVS, which is nil where no such is.
func (v *View) Real(protocol uint8, to netip.AddrPort) (*plan.VirtualServer, []plan.RealServer, error) {
	at, err := v.visit()
	if err != nil || !hasIPVS() {
		return nil, nil, err
	}
	if v.virtual == nil {
		all, err := at.virtualServers()
		if err != nil && !errors.Is(err, unix.EPERM) {
			return nil, nil, err
		}
		v.virtual = append([]plan.VirtualServer{}, all...)
	}
	for _, s := range v.virtual {
		if s.Mark == 0 && s.Protocol == protocolName(uint16(protocol)) && s.Address == to {
			real, err := at.realServers(s)
			return &s, slices.DeleteFunc(real, func(r plan.RealServer) bool { return r.Weight == 0 }), err
		}
	}
	return nil, nil, nil
}
