#   master            worker1           worker2
#   192.168.205.4     192.168.205.2     192.168.205.3
#   p1 p2             p1 p2             p1 p2
#   10.42.0.0/24      10.42.1.0/24      10.42.2.0/24
#      │ eth0            │ eth0            │ eth0
#      └─────────────────┼─────────────────┘
#                  switch "lan"  192.168.205.0/24
#
# The smallest cluster that shows everything: one master and two workers on one switch, with two pods each.
# Pods of one node talk through its bridge; pods of different nodes talk in the way that the mode says.
# Bring it up with another --mode and nothing but that way changes.

lab "three-node" {
  about = "One master and two workers on one switch"
}

variable "pods" {
  description = "Pods on each node"
  default     = 2
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

node "master" {
  on "lan" { address = "192.168.205.4" }
  pod_cidr = "10.42.0.0/24"
  pods     = var.pods
}

node "worker" {
  count = 2
  on "lan" {}
  pods = var.pods
}

network "pods" {
  cidr = "10.42.0.0/16"
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
