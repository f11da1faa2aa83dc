#   node1             node2             host laptop
#   192.168.205.2     192.168.205.3     10.20.0.2
#   p1 p2             p1 p2                │
#   10.10.0.2 .3      10.10.0.4 .5         │
#    │ └─ veth0          │ └─ veth0        │
#    │ eth0.10           │ eth0.10         │
#    │ eth0              │ eth0            │ eth0
#    │ trunk 10          │ trunk 10        │ access 20
#    └────────────────┬──┴─ switch "lan" ──┴─┬─────────┐
#                 own │            access 10 │         │ access 20
#                     │ 192.168.205.1        │ 10.10.0.1 10.20.0.1
#                     └──────────────── router gw ─────┘
#
# Bifrost's way to services: pods are on a VLAN of the underlay, and nothing of what they send there passes the firewall of
# their node, which alone knows services. So each has a second device, veth0, which leads to its node and has the route for the
# services' addresses and no other.
# Ask for "web" in any pod (curl web), and for 192.168.205.3:30080 from the laptop. Whoever answers sees a node, never a pod.
# "lab up bifrost-services --mode host-gw" puts the pods behind their nodes, where nothing of it is needed.

lab "bifrost-services" {
  about = "Services for pods in a VLAN, by a second device, as Bifrost has them"
}

switch "lan" {
  subnet = "192.168.205.0/24"
  vlan "10" { subnet = "10.10.0.0/24" }
  vlan "20" { subnet = "10.20.0.0/24" }
}

node "node" {
  count = 2
  on "lan" { trunk = [10] }
  gateway = "192.168.205.1"
  pods    = 2
  pod "p1" {
    labels = { app = "web" }
    serve  = ["tcp/8080"]
  }
}

router "gw" {
  on "lan" { address = "192.168.205.1" }
  on "lan" { vlan = 10 }
  on "lan" { vlan = 20 }
}

host "laptop" {
  on "lan" { vlan = 20 }
  gateway = "10.20.0.1"
}

network "pods" {
  cidr = "10.10.0.0/24"
  mode = "macvlan"
}

mode "macvlan" {
  vlan         = 10
  service_veth = true
}

mode "host-gw" { cidr = "10.42.0.0/16" }

services {
  cidr = "10.96.0.0/16"
}

service "web" {
  type     = "NodePort"
  address  = "10.96.0.10"
  selector = { app = "web" }
  port "http" {
    port      = 80
    target    = 8080
    node_port = 30080
  }
}
