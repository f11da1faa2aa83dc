#   node1             node2             node3
#   192.168.205.2     192.168.205.3     192.168.205.4
#   p1 p2             p1 p2             p1 p2
#   10.42.0.0/24      10.42.1.0/24      10.42.2.0/24
#      │ eth0            │ eth0            │ eth0
#      └─────────────────┼─────────────────┘
#                  switch "lan"  192.168.205.0/24
#                        │ .1
#                    router gw    routes to every node's block
#
# Terway's way: pods are ipvlan devices on their node's uplink, with its MAC address, and nodes route for them (l3).
# The router stands for a cloud's route table: it knows which block is behind which node, and shows a node the way to its own pods.
# The variants are l3 with the node's firewall in between (ipvlan-l3s), and pods on the segment itself (ipvlan-l2).

lab "terway-ipvlan" {
  about = "Pods on their node's uplink, with its MAC address"
}

variable "pods" {
  description = "Pods on each node"
  default     = 2
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

node "node" {
  count = 3
  on "lan" {}
  gateway  = "192.168.205.1"
  pod_cidr = cidrsubnet("10.42.0.0/16", 8, count.index)
  pods     = var.pods
}

router "gw" {
  on "lan" { address = "192.168.205.1" }
  route {
    to  = "10.42.0.0/24"
    via = "192.168.205.2"
  }
  route {
    to  = "10.42.1.0/24"
    via = "192.168.205.3"
  }
  route {
    to  = "10.42.2.0/24"
    via = "192.168.205.4"
  }
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "ipvlan"
}

mode "ipvlan" {
  like = "l3"
}

mode "ipvlan-l3s" {
  use  = "ipvlan"
  like = "l3s"
}

mode "ipvlan-l2" {
  use  = "ipvlan"
  like = "l2"
}

compare {
  modes    = ["ipvlan", "ipvlan-l3s", "ipvlan-l2"]
  paths    = ["same-node", "cross-node"]
  measures = ["tcp-stream", "tcp-rr"]
}
