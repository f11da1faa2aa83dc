package suite

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/lab/plan"
	"labnet/testbed"
)

// TestSettingsAreRepaired: whatever is done to a setting that decides where packets go is drift, and the only one, also where no
// plan speaks of the setting; up puts it back. Two interfaces of a node and one of a pod, in a mode that sets little and in one
// that sets much.
func TestSettingsAreRepaired(t *testing.T) {
	for _, mode := range []string{"host-gw", "bgp"} {
		t.Run(mode, func(t *testing.T) {
			p := planned(t, load(t, "dual-stack"), "settings", mode)
			up(t, p)
			n := p.Cluster.Nodes[0]
			pod := n.AllPods()[0].NICs[0]
			var paths [][2]string // namespaces, and settings
			for _, path := range plan.Common() {
				paths = append(paths, [2]string{n.Namespace, path})
			}
			for _, at := range []plan.End{{Namespace: n.Namespace, Name: n.Uplink().Name}, near(t, p, pod), {Namespace: pod.Namespace, Name: pod.Device}} {
				for family, also := range map[string][]string{"net/ipv4/conf/": {"forwarding"}, "net/ipv6/conf/": {"forwarding", "disable_ipv6"}} {
					for _, setting := range append(also, slices.Sorted(maps.Keys(plan.AtRest(family)))...) {
						paths = append(paths, [2]string{at.Namespace, family + at.Name + "/" + setting})
					}
				}
			}
			for _, at := range paths {
				ns, path := at[0], at[1]
				t.Run(strings.TrimPrefix(ns, p.Cluster.Name+".")+" "+path, func(t *testing.T) {
					before := setting(t, ns, path)
					sh(t, p, fmt.Sprintf("ip netns exec %s sysctl -qw %s=%d", ns, path, 1-before))
					changes := pending(t, p)
					i := slices.IndexFunc(changes, func(c plan.Change) bool {
						return c.Op == plan.Update && c.Object.Key() == plan.Key{Namespace: ns, Kind: plan.KindSysctl, Name: path}
					})
					if i < 0 || len(changes) > 1 && !strings.HasSuffix(path, "disable_ipv6") { // which takes addresses and routes along
						t.Fatalf("up would change %v", changes)
					}
					if err := testbed.Apply(t.Context(), changes, func(plan.Change) {}); err != nil {
						t.Fatal(err)
					}
					if after := setting(t, ns, path); after != before {
						t.Errorf("it was %d, and is %d", before, after)
					}
					settled(t, p)
				})
			}
			healthy(t, p)
		})
	}
}

// near is the node's end of a pod's device.
func near(t *testing.T, p *plan.Plan, pod *plan.NIC) plan.End {
	t.Helper()
	l, ok := p.State.Get(plan.Key{Namespace: pod.Namespace, Kind: plan.KindLink, Name: pod.Device}).(plan.Link)
	if !ok || l.Peer() == (plan.End{}) {
		t.Fatalf("%s has no veth", pod.Title())
	}
	return l.Peer()
}

func setting(t *testing.T, ns, path string) (value int) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", ns, "sysctl", "-n", path).Output()
	if err == nil {
		_, err = fmt.Sscan(string(out), &value)
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestSettingsOfPrograms: a program that may change settings is not drift for doing so, and what it leaves alone is watched
// elsewhere.
func TestSettingsOfPrograms(t *testing.T) {
	p := planned(t, parse(t, "tuned.hcl", `
		lab "tuned" {}
		switch "lan" {
			subnet = "192.0.2.0/24"
		}
		host "other" {
			on "lan" {}
		}
		host "tuner" {
			on "lan" {}
			process "sysctl" {
				command      = ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify; exec sleep 1000"]
				capabilities = ["NET_ADMIN"]
			}
		}
	`), "tuned", "")
	if err := testbed.Apply(t.Context(), pending(t, p), func(plan.Change) {}); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(20 * time.Second); setting(t, p.Cluster.Name+".tuner", "net/ipv4/conf/eth0/arp_notify") == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the program has set nothing for 20 s")
		}
	}
	settled(t, p)
	sh(t, p, "ip netns exec %s.other sysctl -qw net/ipv4/conf/eth0/arp_notify=1")
	if changes := pending(t, p); len(changes) != 1 || changes[0].Object.Key().Namespace != p.Cluster.Name+".other" {
		t.Errorf("up would change %v", changes)
	}
}

// TestSettingsOfTheMachine: a lab's namespaces are as the kernel makes them, whatever the machine's administrator has set for
// its own network.
func TestSettingsOfTheMachine(t *testing.T) {
	needRoot(t)
	own, odd := inheritable(t)
	if odd == 0 {
		t.Skip("This machine's network is set as the kernel has it, so that there is nothing to inherit. That of make test-vm is not.")
	}
	for lab, mode := range map[string]string{"dual-stack": "host-gw", "hybridnet-vxlan": "", "services": ""} {
		t.Run(lab, func(t *testing.T) {
			p := planned(t, load(t, lab), "inherits", mode)
			up(t, p)
			for _, n := range p.Cluster.Nodes {
				for _, ns := range []string{n.Namespace, n.AllPods()[0].Namespace} {
					for path, value := range own {
						if o, ok := p.State.Get(plan.Key{Namespace: ns, Kind: plan.KindSysctl, Name: path}).(plan.Sysctl); ok {
							value = o.Value
						} else if ns == n.Namespace && path == "net/ipv4/conf/all/accept_redirects" {
							value = "0" // the kernel turns it off where it turns forwarding on
						}
						if is := fmt.Sprint(setting(t, ns, path)); is != value {
							t.Errorf("%s of %s is %s, not %s", path, ns, is, value)
						}
					}
				}
			}
			healthy(t, p)
		})
	}
}

// inheritable are the settings that a namespace takes from the machine, as the kernel has them, and how many this machine has
// otherwise.
func inheritable(t testing.TB) (own map[string]string, odd int) {
	t.Helper()
	own = map[string]string{}
	script := "cd /proc/sys"
	for _, family := range []string{"net/ipv4/conf/", "net/ipv6/conf/"} {
		for name, value := range plan.AtRest(family) {
			for _, of := range []string{"all", "default", "lo"} {
				path := family + of + "/" + name
				own[path] = value
				script += fmt.Sprintf("; [ $(cat %s) = %s ] || echo", path, value)
			}
		}
	}
	out, err := exec.Command("unshare", "--net", "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return own, strings.Count(string(out), "\n")
}
