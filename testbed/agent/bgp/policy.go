package bgp

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	api "github.com/osrg/gobgp/v3/api"
)

// exportPolicy gives GoBGP two habits of every router's which it lacks, towards peers of another AS. What came with the community
// no-export is not passed on (RFC 1997). And a next hop in the peer's own subnet is left as it is (RFC 4271, 5.1.3), so that
// packets go straight from node to node and not through the switch of the rack, which only tells the one of the other.
func (s *Speaker) exportPolicy(ctx context.Context) error {
	var external []string
	neighbours := map[netip.Prefix][]string{} // those of a subnet of this machine
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, p := range s.cfg.Peers {
		if p.AS == s.cfg.AS {
			continue
		}
		external = append(external, netip.PrefixFrom(p.Address, p.Address.BitLen()).String())
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && prefixOf(n).Contains(p.Address) {
				neighbours[prefixOf(n)] = append(neighbours[prefixOf(n)], external[len(external)-1])
			}
		}
	}
	if len(external) == 0 {
		return nil
	}
	sets := []*api.DefinedSet{
		{DefinedType: api.DefinedType_NEIGHBOR, Name: "external", List: external},
		{DefinedType: api.DefinedType_COMMUNITY, Name: "no-export", List: []string{"65535:65281"}},
	}
	policy := &api.Policy{Name: "export"}
	for _, from := range []api.Conditions_RouteType{api.Conditions_ROUTE_TYPE_INTERNAL, api.Conditions_ROUTE_TYPE_EXTERNAL} {
		policy.Statements = append(policy.Statements, &api.Statement{
			Name: "no-export " + from.String(),
			Conditions: &api.Conditions{
				NeighborSet: &api.MatchSet{Name: "external"}, CommunitySet: &api.MatchSet{Name: "no-export"}, RouteType: from,
			},
			Actions: &api.Actions{RouteAction: api.RouteAction_REJECT},
		})
	}
	for subnet, list := range neighbours {
		name := "in " + subnet.String()
		sets = append(sets, &api.DefinedSet{DefinedType: api.DefinedType_NEIGHBOR, Name: name, List: list})
		policy.Statements = append(policy.Statements, &api.Statement{
			Name:       name,
			Conditions: &api.Conditions{NeighborSet: &api.MatchSet{Name: name}, NextHopInList: []string{subnet.String()}},
			Actions:    &api.Actions{Nexthop: &api.NexthopAction{Unchanged: true}},
		})
	}
	for _, set := range sets {
		if err := s.server.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: set}); err != nil {
			return fmt.Errorf("%s: %w", set.Name, err)
		}
	}
	if err := s.server.AddPolicy(ctx, &api.AddPolicyRequest{Policy: policy}); err != nil {
		return err
	}
	return s.server.AddPolicyAssignment(ctx, &api.AddPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
		Name: "global", Direction: api.PolicyDirection_EXPORT, Policies: []*api.Policy{policy}, DefaultAction: api.RouteAction_ACCEPT,
	}})
}
