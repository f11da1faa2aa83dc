#   node1             node2             node3             host laptop
#   192.168.205.2     192.168.205.3     192.168.205.4     10.20.0.2
#   p1 p2             p1 p2             p1 p2                │
#   10.10.0.2 .3      10.10.0.4 .5      10.10.0.6 .7         │
#      │ eth0.10         │ eth0.10         │ eth0.10         │
#      │ eth0            │ eth0            │ eth0            │ eth0
#      │ trunk 10        │ trunk 10        │ trunk 10        │ access 20
#      └─────────────────┴──── switch "lan" ───┬─────────────┘
#                      own │ access 10 │ access │ 20
#                       .1 │ 10.10.0.1 │ 10.20. │ 0.1
#                          └────── router gw ───┘
#
# Bifrost's way: pods are macvlan devices on a VLAN of their node's uplink, with addresses of one subnet wherever they run.
# Pods of different nodes talk through the switch alone, tagged with VLAN 10 on the nodes' ports.
# Everything else, the nodes and the laptop in VLAN 20, is reached through the router, and a node's own pods are too.

lab "bifrost-macvlan" {
  about = "Pods in a VLAN of the underlay, as Bifrost puts them there"
}

variable "pods" {
  description = "Pods on each node"
  default     = 2
}

switch "lan" {
  subnet = "192.168.205.0/24"
  vlan "10" { subnet = "10.10.0.0/24" }
  vlan "20" { subnet = "10.20.0.0/24" }
}

node "node" {
  count = 3
  on "lan" { trunk = [10] }
  gateway = "192.168.205.1"
  pods    = var.pods
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
  vlan = 10
}
