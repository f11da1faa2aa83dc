#   master            worker1           worker2
#   192.168.205.4     192.168.205.3     192.168.205.5
#   10.42.0.0/24      10.42.1.0/24      10.42.2.0/24
#   p1 10.42.0.65     p1 10.42.1.9      p1 10.42.2.9
#   p2                p2                p2
#      │ eth0            │ eth0            │ eth0
#      └─────────────────┼─────────────────┘
#                  switch "lan"  192.168.205.0/24
#
# The smallest cluster that shows everything: one master and two workers on one switch, with two pods each.
# Pods of one node talk through its bridge; pods of different nodes talk in the way that the mode says.
# All addresses are written down, so that they are the same in every mode, and a packet from 10.42.0.65 to 10.42.1.9 can be
# followed through each of them.
# Bring it up with another --mode and nothing but that way changes.

lab "three-node" {
  about = "One master and two workers on one switch"
}

variable "pods" {
  description = "Pods on each node; p1 is always there"
  default     = 2
}

locals {
  lan  = "192.168.205.0/24"
  pods = "10.42.0.0/16"
}

switch "lan" {
  subnet = local.lan
}

node "master" {
  on "lan" { address = "192.168.205.4" }
  pod_cidr = cidrsubnet(local.pods, 8, 0)
  pods     = var.pods
  pod "p1" { address = "10.42.0.65" }
}

node "worker" {
  count = 2
  on "lan" { address = cidrhost(local.lan, 3 + 2 * count.index) }
  pod_cidr = cidrsubnet(local.pods, 8, count.index + 1)
  pods     = var.pods
  pod "p1" { address = cidrhost(cidrsubnet(local.pods, 8, count.index + 1), 9) }
}

network "pods" {
  cidr = local.pods
  mode = "vxlan"
}

mode "vxlan" {
  vni  = 1
  port = 8472
}

mode "vxlan-calico" {
  use  = "vxlan"
  like = "calico"
}

mode "bgp-bridge" {
  use  = "bgp"
  like = "bridge"
}

compare {
  modes = ["host-gw", "bgp-bridge", "vxlan", "vxlan-calico", "ipip", "macvlan", "udp"]
}
