package testbed

import (
	"slices"

	"labnet/lab/plan"
)

// kinds are all kinds of objects, in the order in which they are read.
var kinds = []struct {
	of     []plan.Kind
	called string
	kind
}{
	{[]plan.Kind{plan.KindNamespace}, "owner", namespaceKind{}},
	{[]plan.Kind{plan.KindLink}, "links", linkKind},
	{[]plan.Kind{plan.KindAddress}, "addresses", addressKind},
	{[]plan.Kind{plan.KindRoute}, "routes", routeKind},
	{[]plan.Kind{plan.KindRule}, "rules", ruleKind},
	{[]plan.Kind{plan.KindNeighbour}, "neighbours", neighbourKind},
	{[]plan.Kind{plan.KindFDB}, "FDB entries", fdbKind},
	{[]plan.Kind{plan.KindQdisc}, "qdiscs", qdiscKind},
	{[]plan.Kind{plan.KindIPSet}, "ipsets", ipsetKind},
	{[]plan.Kind{plan.KindIPSetEntry}, "members of ipsets", ipsetEntryKind},
	{[]plan.Kind{plan.KindVirtualServer}, "virtual servers", virtualServerKind},
	{[]plan.Kind{plan.KindRealServer}, "real servers", realServerKind},
	{[]plan.Kind{plan.KindProgram}, "programs", programKind},
	{[]plan.Kind{plan.KindTable, plan.KindStateful, plan.KindSet, plan.KindChain, plan.KindElement, plan.KindChainRule}, "nft tables", firewallKind{}},
	{[]plan.Kind{plan.KindSysctl}, "sysctls", sysctlKind},
	{[]plan.Kind{plan.KindAttachment}, "attachments", attachmentKind},
	{[]plan.Kind{plan.KindAgent}, "agents", agentKind},
	{[]plan.Kind{plan.KindConnection}, "connections", connectionKind},
}

func kindOf(k plan.Kind) kind {
	for _, e := range kinds {
		if slices.Contains(e.of, k) {
			return e.kind
		}
	}
	return nil
}
