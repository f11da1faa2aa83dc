#   node1              node2              node3
#   192.168.205.2      192.168.205.3      192.168.205.4
#   p1 p2              p1 p2              p1 p2
#      ║ eth0             ║ eth0             ║ eth0        trunk: no tag, VLAN 10 and VLAN 20
#      ╚══════════════════╬══════════════════╝
#                   switch "lan"  192.168.205.0/24
#                         ║       VLAN 10: 10.10.0.0/24
#                router gw, .1    VLAN 20: 10.20.0.0/24
#
# The six ways in which a packet gets from one node's pods to another's, on one cluster: by routes alone (host-gw), by routes
# that nodes learn from one another (bgp), in UDP (vxlan), in IP (ipip), and without the node in between: as machines of a VLAN
# (macvlan), or in a VLAN that the node routes into (vlan).
# In the first four the pods have a network of their own; the variants of the last two say, with cidr, that their pods have
# addresses of the VLAN.

lab "six-ways" {
  about = "One cluster whose pods are connected in six ways, to compare them"
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

router "gw" {
  on "lan" { address = "192.168.205.1" }
  on "lan" { vlan = 10 }
  on "lan" { vlan = 20 }
}

node "node" {
  count = 3
  on "lan" { trunk = [10, 20] }
  gateway = "192.168.205.1"
  pods    = var.pods
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "host-gw"
}

mode "macvlan" {
  cidr = "10.10.0.0/24"
  vlan = 10
}

mode "vlan" {
  cidr = "10.20.0.0/24"
}

compare {
  modes = ["host-gw", "bgp", "vxlan", "ipip", "macvlan", "vlan"]
}
