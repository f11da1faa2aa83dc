package suite

import (
	"net"
	"strings"
	"testing"

	"labnet/testbed"
)

// TestPluginsAreHanded: what a runtime hands to plugins, pod by pod, comes to the real ones for ports and for bandwidth.
func TestPluginsAreHanded(t *testing.T) {
	needRoot(t)
	settings := conflist(`
  capabilities = {
    portMappings = pod.index > 0 ? [] : [{ hostPort = 8080, containerPort = 80, protocol = "tcp" }]
    bandwidth    = pod.name == "p2" ? { ingressRate = 8000000, ingressBurst = 8000000, egressRate = 8000000, egressBurst = 8000000 } : null
  }`, `{ type = "bridge", bridge = "cni0", isGateway = true, `+blockOfNode+` }`,
		`{ type = "portmap", backend = "nftables", snat = true, capabilities = { portMappings = true } }`, `{ type = "bandwidth", capabilities = { bandwidth = true } }`)
	p := planned(t, parse(t, "plugged.hcl", cniLab(settings)), "handed", "")
	up(t, p)
	healthy(t, p)
	if all := sh(t, p, "tc -n %s.node1 qdisc show"); strings.Count(all, "rate 8Mbit") != 2 { // of p2's veth, and of the ifb for what it sends
		t.Errorf("qdiscs of node1: %s", all)
	}
	in := func(name string, f func() error) {
		t.Helper()
		place, err := testbed.Open(p.Cluster.Name + "." + name)
		if err != nil {
			t.Fatal(err)
		}
		defer place.Close()
		if err := place.Do(f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var l net.Listener
	in("node1.p1", func() (err error) { l, err = net.Listen("tcp4", ":80"); return err })
	defer l.Close()
	in("node3", func() error {
		conn, err := net.Dial("tcp4", "192.168.205.2:8080")
		if err == nil {
			conn.Close()
		}
		return err
	})
	up(t, p) // none of which is drift
	none := built(t, parse(t, "plugged.hcl", cniLab(settings)), "handed", "host-gw")
	up(t, none)
	healthy(t, none)
}
