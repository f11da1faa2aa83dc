#   node1              node2              node3
#   192.168.205.3      192.168.205.4      192.168.205.5
#   10.42.0.2  .3      10.42.0.4  .5      10.42.0.6  .7
#      │ eth0             │ eth0             │ eth0
#      └──────────────────┼──────────────────┘
#                   switch "lan"  192.168.205.0/24
#                         │ .1
#                     router gw
#
# Hybridnet's overlay: all nodes share one pod subnet, so no route says where a pod is, but its neighbour entry does.
# The node's policy rules ask for its own pods first and for the overlay next; what neither has goes the node's own way.
# Look at "ip rule" and at tables 39999 and 40000 on a node, and compare with flannel's one route for each node.

lab "hybridnet-vxlan" {
  about = "Hybridnet's overlay: one pod subnet on all nodes, policy routing, VXLAN"
}

variable "pods" {
  description = "Pods on each node"
  default     = 2
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

router "gw" {
  on "lan" { address = "192.168.205.1" }
}

node "node" {
  count = 3
  on "lan" { address = cidrhost("192.168.205.0/24", count.index + 3) }
  gateway = "192.168.205.1"
  pods    = var.pods
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "hybridnet-vxlan"
}

mode "hybridnet-vxlan" {
  use  = "vxlan"
  like = "hybridnet"
}

compare {
  modes    = ["vxlan", "hybridnet-vxlan"]
  paths    = ["cross-node"]
  measures = ["tcp-stream", "tcp-rr"]
  rounds   = 10
}
