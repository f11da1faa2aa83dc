package suite

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// sharers are pods of every kind beside those of three-node.
const sharers = `
  pod "tools" {
    networks = ["pod:p1"]
    serve    = ["tcp/8081"]
  }
  pod "side" {
    networks = ["pod:tools"]
    serve    = ["tcp/8082"]
  }
  pod "agent" {
    networks = ["host"]
    serve    = ["tcp/9100"]
  }
  pod "batch" {
    networks = ["none"]
    serve    = ["tcp/80"]
  }
  pod "db" {
    networks = ["backend"]
    serve    = ["tcp/5432"]
  }
  pod "api" {
    networks = ["backend"]
    serve    = ["tcp/80"]
    publish  = ["9000:80"]
  }
  pod "other" {
    networks = ["front"]
    serve    = ["tcp/80"]
    publish  = ["9001:80"]
  }
`

// ownBridges are the networks of some of them.
const ownBridges = `
network "backend" {
  driver = "bridge"
  cidr   = "172.18.0.0/16"
}
network "front" {
  driver = "bridge"
  cidr   = "172.19.0.0/16"
}
`

// TestPodNetworks: in every mode a pod that shares another's network answers at that one's address and at its lo, one in its
// node's at the node's, and one in none at its own lo alone. Pods on a bridge of their node answer one another, their node, and
// others by published ports alone; they reach the outside, which sees the node, and no other network. The mode does what it
// promises all the same.
func TestPodNetworks(t *testing.T) {
	for _, v := range modesOf(t, "three-node") {
		t.Run(v.mode, func(t *testing.T) {
			text := source(t, "three-node")
			p := planned(t, parse(t, "three-node.hcl", strings.Replace(text, "  pod \"p1\" { address = \"10.42.0.65\" }\n", "  pod \"p1\" { address = \"10.42.0.65\" }\n"+sharers, 1)+ownBridges), "sharers", v.mode)
			up(t, p)
			healthy(t, p)
			master, worker := p.Cluster.Nodes[0], p.Cluster.Nodes[1]
			if len(master.Apart) != 7 || len(master.Pods) != 2 {
				t.Fatalf("%d pods, and %d apart", len(master.Pods), len(master.Apart))
			}
			p1, far := master.Pods[0].Address(false), place(t, worker.Pods[0].Namespace)
			says := func(from string, to netip.Addr, port, who string) {
				t.Helper()
				if _, body := get(t, place(t, from), "http://"+net.JoinHostPort(to.String(), port)); !strings.HasPrefix(body, who+" ") {
					t.Errorf("%s gets %q from %s:%s", from, body, to, port)
				}
			}
			lo := netip.MustParseAddr("127.0.0.1")
			says(far.Name, p1, "8081", "master/tools")
			says(far.Name, p1, "8082", "master/side")
			says(master.Pods[0].Namespace, lo, "8081", "master/tools")
			says(master.Namespace, lo, "9100", "master/agent")
			says(worker.Namespace, master.Uplink().Address(false).Addr(), "9100", "master/agent")
			says(p.Cluster.NamespaceOf("master")+".batch", lo, "80", "master/batch")
			for from, port := range map[string]string{master.Pods[1].Namespace: "8081", master.Namespace: "8081", worker.Namespace: "9100"} {
				if _, err := dial(t, place(t, from), "tcp4", "127.0.0.1:"+port, patience); !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s has the lo of others: %v", from, err)
				}
			}
			if _, err := dial(t, place(t, p.Cluster.NamespaceOf("master")+".batch"), "tcp4", net.JoinHostPort(p1.String(), "8081"), patience); !errors.Is(err, unix.ENETUNREACH) {
				t.Errorf("a pod without a network reaches one: %v", err)
			}
			on := func(pod string) string { return p.Cluster.NamespaceOf("master") + "." + pod }
			own := master.Uplink().Address(false).Addr()
			db, gateway := netip.MustParseAddr("172.18.0.2"), "172.18.0.1"
			for _, a := range []struct{ from, at, who, client string }{
				{on("api"), db.String() + ":5432", "master/db", "172.18.0.3"}, {master.Namespace, db.String() + ":5432", "master/db", gateway},
				{on("db"), own.String() + ":9100", "master/agent", db.String()}, {worker.Namespace, own.String() + ":9000", "master/api", worker.Uplink().Address(false).Addr().String()},
				{on("db"), own.String() + ":9000", "master/api", gateway}, {on("api"), own.String() + ":9000", "master/api", gateway},
			} {
				if got := ask(t, place(t, a.from), "tcp4", a.at); got.pod != a.who || got.source.String() != a.client {
					t.Errorf("%s asks %s: %s answers %s", a.from, a.at, got.pod, got.source)
				}
			}
			if c, err := dial(t, place(t, on("api")), "tcp4", own.String()+":9001", 300*time.Millisecond); err == nil { // other ways check has tried
				c.Close()
				t.Error("a published port leads into another network")
			}
			if shared := p.Cluster.Shared(); len(shared) != 3 || shared["master/side"] != "master/p1" || shared["master/agent"] != "master" {
				t.Errorf("shared are %v", shared)
			}
			p.State.Each(func(o plan.Object) {
				if n, ok := o.(plan.Namespace); ok && (strings.HasSuffix(n.Name, ".side") || strings.HasSuffix(n.Name, ".agent")) {
					t.Errorf("%s has a namespace of its own", n.Name)
				}
			})
		})
	}
}
