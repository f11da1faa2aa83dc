#   node1  AS 100           node2  AS 100           node3  AS 100
#   hybrX hybrY             hybrX hybrY             hybrX hybrY
#   p1    p2                p1    p2                p1    p2      10.30.0.0/24
#      │ eth0                  │ eth0                  │ eth0
#      └───────────────────────┼───────────────────────┘
#                        switch "lan"  192.168.205.0/24
#                              │ .1
#                        router tor  AS 200             the switch on top of the rack
#
# Hybridnet's BGP network: every node announces its pods to the router of the rack, and sends everything to it.
# The router has one route to each pod, and one to the whole subnet over all nodes: that one it would tell the next rack.
# Follow a ping between nodes: it crosses the segment twice, and the pods' own addresses are on the wire.

lab "hybridnet-bgp" {
  about = "Hybridnet's BGP mode: nodes announce their pods to a top-of-rack router"
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

router "tor" {
  on "lan" { address = "192.168.205.1" }
}

node "node" {
  count = 3
  on "lan" {}
  gateway = "192.168.205.1"
  pods    = 2
}

network "pods" {
  cidr = "10.30.0.0/24"
  mode = "bgp"
}

mode "bgp" {
  like    = "hybridnet"
  as      = 100
  peer    = "tor"
  peer_as = 200
}
