package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// overlay is the bridge plugin, which before its first pod makes a VXLAN device towards the other nodes, as flannel would.
const overlay = `#!/bin/bash
set -eu
if [ $CNI_COMMAND = ADD ] && ! ip link show flannel.1 >/dev/null 2>&1; then
  n=$(ip -4 -o address show eth0 | sed 's/.*inet [0-9]*\.[0-9]*\.[0-9]*\.\([0-9]*\).*/\1/')
  ip link add flannel.1 address 02:42:0a:2a:00:0$n type vxlan id 1 dstport 8472 local 192.168.205.$n dev eth0 nolearning
  ip address add 10.42.$((n - 2)).0/32 dev flannel.1
  ip link set flannel.1 up
  for far in 2 3 4; do
    [ $far != $n ] || continue
    ip neighbour add 10.42.$((far - 2)).0 lladdr 02:42:0a:2a:00:0$far dev flannel.1 nud permanent
    bridge fdb append 02:42:0a:2a:00:0$far dev flannel.1 dst 192.168.205.$far
    ip route add 10.42.$((far - 2)).0/24 via 10.42.$((far - 2)).0 dev flannel.1 onlink
  done
fi
exec %s/bridge
`

// TestPluginsPromiseIsHeld: what a definition says of its plugins' encapsulation is what the wire must show, no more and no less.
func TestPluginsPromiseIsHeld(t *testing.T) {
	needRoot(t)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "overlay"), fmt.Appendf(nil, overlay, PluginFolder()), 0o755); err != nil {
		t.Fatal(err)
	}
	wraps := func(expect string) string {
		return fmt.Sprintf("path = [%q, %q]\n", folder, PluginFolder()) +
			conflist("routes = \"none\"\n"+expect, `{ type = "overlay", bridge = "cni0", isGateway = true, mtu = 1450, `+blockOfNode+` }`)
	}
	plain := func(expect string) string {
		return conflist(expect, `{ type = "bridge", bridge = "cni0", isGateway = true, mtu = 1450, `+blockOfNode+` }`)
	}
	for _, tt := range []struct{ name, settings, broken string }{
		{"as it is", wraps("expect {\n  encap = \"vxlan\"\n  vni   = 1\n  port  = 8472\n}"), ""},
		{"with another identifier", wraps("expect {\n  encap = \"vxlan\"\n  vni   = 2\n  port  = 8472\n}"), "wire"},
		{"and nothing is said", wraps(""), "wire"},
		{"and nothing is done", plain("expect {\n  encap = \"vxlan\"\n  vni   = 1\n  port  = 8472\n}"), "wire"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planned(t, parse(t, "plugged.hcl", cniLab(tt.settings)), "promise", "")
			up(t, p)
			if mtu := p.Cluster.Nodes[0].Pods[0].NICs[0].MTU; mtu != 1450 {
				t.Errorf("the pods' MTU is learnt as %d", mtu)
			}
			r := checked(t, p)
			if r.OK != (tt.broken == "") {
				var b strings.Builder
				r.Text(&b, 100, false)
				t.Fatalf("the check says:\n%s", b.String())
			}
			for _, c := range r.Checks {
				if !c.OK && c.Name == tt.broken {
					return
				}
			}
			if tt.broken != "" {
				t.Errorf("no %s check fails", tt.broken)
			}
		})
	}
}
