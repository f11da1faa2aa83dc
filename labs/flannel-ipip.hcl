#   node1             node2                       node3
#   192.168.205.2     192.168.205.3               192.168.206.2
#   p1 p2             p1 p2                       p1 p2
#   10.42.0.0/24      10.42.1.0/24                10.42.2.0/24
#      │ eth0            │ eth0                      │ eth0
#      └───────┬─────────┘                           │
#         switch "lan" ────────── router gw ── switch "far"
#         192.168.205.0/24   .1           .1   192.168.206.0/24
#
# flannel's ipip backend: the pods' packets travel between the nodes inside IP packets of protocol 4, 20 bytes longer.
# The router knows nothing of the pods, and need not: what it sees goes from one node to another.
# In the mode direct the two nodes on one switch leave the encapsulation out, and only node3 is spoken to in a tunnel.

lab "flannel-ipip" {
  about = "flannel ipip, across a router; direct where it can be"
}

variable "pods" {
  description = "Pods on each node"
  default     = 2
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

switch "far" {
  subnet = "192.168.206.0/24"
}

router "gw" {
  on "lan" { address = "192.168.205.1" }
  on "far" { address = "192.168.206.1" }
}

node "node1" {
  on "lan" {}
  gateway = "192.168.205.1"
  pods    = var.pods
}

node "node2" {
  on "lan" {}
  gateway = "192.168.205.1"
  pods    = var.pods
}

node "node3" {
  on "far" {}
  gateway = "192.168.206.1"
  pods    = var.pods
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "ipip"
}

mode "direct" {
  use    = "ipip"
  direct = true
}

compare {
  modes    = ["ipip", "direct", "vxlan"]
  paths    = ["cross-node"]
  measures = ["tcp-stream", "tcp-rr"]
  rounds   = 10
}
