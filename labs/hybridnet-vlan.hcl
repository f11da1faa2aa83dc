#   node1              node2              node3
#   192.168.205.3      192.168.205.4      192.168.205.5
#   10.20.0.2  .3      10.20.0.4  .5      10.20.0.6  .7
#      ║ eth0.20          ║ eth0.20          ║ eth0.20      trunk: no tag, and VLAN 20
#      ╚══════════════════╬══════════════════╝
#                   switch "lan"  192.168.205.0/24
#                      │  ║       VLAN 20: 10.20.0.0/24
#                   .1 │  ║ .1
#                     router gw
#
# Hybridnet's underlay: pods have addresses of a VLAN that the network already has, and its router is their gateway.
# They stay behind their node all the same: it routes for them, and answers ARP in the VLAN with its own MAC address.
# In the variant macvlan the pods are in the VLAN themselves; look at the switch's table of addresses in both.

lab "hybridnet-vlan" {
  about = "Hybridnet's underlay: pods with addresses of a VLAN, routed by their nodes"
}

variable "pods" {
  description = "Pods on each node"
  default     = 2
}

switch "lan" {
  subnet = "192.168.205.0/24"
  vlan "20" { subnet = "10.20.0.0/24" }
}

router "gw" {
  on "lan" { address = "192.168.205.1" }
  on "lan" {
    vlan    = 20
    address = "10.20.0.1"
  }
}

node "node" {
  count = 3
  on "lan" {
    address = cidrhost("192.168.205.0/24", count.index + 3)
    trunk   = [20]
  }
  gateway = "192.168.205.1"
  pods    = var.pods
}

network "pods" {
  cidr = "10.20.0.0/24"
  mode = "vlan"
}

mode "vlan" {
  like = "hybridnet"
}

mode "macvlan" {
  vlan = 20
}

compare {
  modes    = ["vlan", "macvlan"]
  paths    = ["same-node", "cross-node"]
  measures = ["tcp-stream", "tcp-rr"]
  rounds   = 10
}
