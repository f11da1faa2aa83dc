#        rr1 ────────── BGP ────────── rr2           route reflectors, AS 64512
#       / | \                        / | \
#  node1 … node4                 node1 … node4       clients: two sessions each, none among themselves
#      │ eth0                         │ eth0
#      └──────────────┬───────────────┘
#               switch "lan"  192.168.205.0/24
#
# Calico with route reflectors: a node speaks with the two reflectors only, so ten more nodes are twenty more sessions.
# The reflectors pass routes on with the next hop as it was, so packets go straight from node to node.
# Take one reflector away ("lab exec rr1 -- ip link set eth0 down"): nothing is lost.

lab "calico-bgp-rr" {
  about = "Calico's BGP mode with two route reflectors"
}

variable "nodes" {
  description = "Nodes besides the two reflectors"
  default     = 4
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

node "rr" {
  count = 2
  on "lan" {}
}

node "node" {
  count = var.nodes
  on "lan" {}
  pods = 1
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "bgp"
}

mode "bgp" {
  reflectors = ["rr1", "rr2"]
}
