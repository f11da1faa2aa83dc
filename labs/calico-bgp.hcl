#   node1 ────── BGP ────── node2 ────── BGP ────── node3 ── BGP ── node1     AS 64512, a full mesh
#   10.42.0.0/26            10.42.0.64/26           10.42.0.128/26
#   caliX caliY             caliX caliY             caliX caliY
#   p1    p2                p1    p2                p1    p2
#      │ eth0                  │ eth0                  │ eth0
#      └───────────────────────┼───────────────────────┘
#                        switch "lan"  192.168.205.0/24   the pods' own packets
#
# Calico without encapsulation: every node announces its block of pod addresses over BGP, and learns those of the others.
# Kill a speaker and watch the routes stay ("lab status" shows the sessions); "lab up" brings it back without losing a packet.
# "--mode bridge" is the same with a CNI bridge on every node instead of routed pods.

lab "calico-bgp" {
  about = "Calico's BGP mode: a full mesh of three nodes, no encapsulation"
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

node "node" {
  count = 3
  on "lan" {}
  pods = 2
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "bgp"
}

mode "bgp" {
  as = 64512
}

mode "bridge" {
  use  = "bgp"
  like = "bridge"
}
