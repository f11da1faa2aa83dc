package attach

import (
	"fmt"
	"net/netip"

	"labnet/lab/plan"
)

// CalicoFirewall is what every packet of the pods meets: what leaves the pool is masqueraded, and packets of the tunnel,
// if there are any that match untracked, are not tracked.
func CalicoFirewall(pool netip.Prefix, n *plan.Node, untracked string) plan.Table {
	t := plan.Table{Namespace: n.Namespace, Family: "ip", Name: "calico"}
	if pool.Addr().Is6() {
		t.Family = "ip6"
	}
	if untracked != "" {
		t.Body = fmt.Sprintf(`	chain raw-PREROUTING {
		type filter hook prerouting priority raw; policy accept;
		%[1]s notrack
	}

	chain raw-OUTPUT {
		type filter hook output priority raw; policy accept;
		%[1]s notrack
	}

`, untracked)
	}
	t.Body += fmt.Sprintf(`	chain nat-POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		%[1]s saddr %[2]s %[1]s daddr != %[2]s masquerade fully-random
	}
`, t.Family, pool)
	return t
}
