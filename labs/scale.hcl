#   node1        node2        node3        …   node100
#   p1 … p10     p1 … p10     p1 … p10         p1 … p10
#      │            │            │                │
#      └────────────┴────────────┴───── … ────────┘
#                  switch "lan"  172.20.0.0/16
#
# How large can a cluster be: as many nodes and pods as the variables say, a hundred times ten unless told otherwise.
# In host-gw each node has one route to each other, so that the routes grow with the square of the nodes.
# Try it with --var nodes=300, and compare how long each mode takes to build.

lab "scale" {
  about = "Many nodes on one switch"
}

variable "nodes" {
  description = "Nodes of the cluster"
  default     = 100
}

variable "pods" {
  description = "Pods on each node"
  default     = 10
}

switch "lan" {
  subnet = "172.20.0.0/16"
}

node "node" {
  count = var.nodes
  on "lan" {}
  pods = var.pods
}

network "pods" {
  cidr = "10.0.0.0/12"
  mode = "host-gw"
}
