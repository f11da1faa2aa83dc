#   node1    node2    node3   …   node32
#   p        p        p           p
#     │        │        │            │
#     └────────┴────────┴──── … ─────┘
#         switch "lan"  172.20.0.0/16
#
# What grows with the cluster, and what does not? "lab compare sweep" builds each mode at 2, 8 and 32 nodes and shows a
# curve for each: in host-gw a node has a route for every other, in vxlan a neighbour and an FDB entry besides, and the
# kernel finds each of them by a hash or a trie, so that a message should cost the same.
# Other sweeps go in its place: --sweep mtu=1500,3000,9000, or --sweep firewall=on,off.

lab "sweep" {
  about = "One comparison at several sizes of the cluster"
}

variable "nodes" {
  description = "Nodes of the cluster"
  default     = 8
}

switch "lan" {
  subnet = "172.20.0.0/16"
}

node "node" {
  count = var.nodes
  on "lan" {}
  pods = 1
}

network "pods" {
  cidr = "10.0.0.0/12"
  mode = "host-gw"
}

compare {
  modes    = ["host-gw", "vxlan"]
  paths    = ["cross-node"]
  measures = ["path-cost"]
  sweep "nodes" {
    values = [2, 8, 32]
  }
}
