#   node1            node2            node3            node4
#   192.168.205.2    192.168.205.3    192.168.206.2    192.168.206.3
#   p1 p2            p1 p2            p1 p2            p1 p2
#      │ eth0           │ eth0           │ eth0           │ eth0
#      └───────┬────────┘                └───────┬────────┘
#        switch "rack1"                    switch "rack2"
#        192.168.205.0/24                  192.168.206.0/24
#              │ .1                              │ .1
#              └──────────── router gw ──────────┘
#
# Two racks with a router between them, which knows nothing of pods: a tunnel leads from every node to every other.
# The variants that are direct spare the tunnel inside a rack, so both kinds of path are there at once.
# Trace a pod's packets to node2 and to node3 in each variant, and see that its MTU is the tunnel's in all of them.

lab "flannel-vxlan" {
  about = "Two racks with a router between: tunnels where they are needed, or everywhere"
}

variable "pods" {
  description = "Pods on each node"
  default     = 2
}

switch "rack1" {
  subnet = "192.168.205.0/24"
}

switch "rack2" {
  subnet = "192.168.206.0/24"
}

router "gw" {
  on "rack1" { address = "192.168.205.1" }
  on "rack2" { address = "192.168.206.1" }
}

node "node1" {
  on "rack1" { address = "192.168.205.2" }
  gateway = "192.168.205.1"
  pods    = var.pods
}

node "node2" {
  on "rack1" { address = "192.168.205.3" }
  gateway = "192.168.205.1"
  pods    = var.pods
}

node "node3" {
  on "rack2" { address = "192.168.206.2" }
  gateway = "192.168.206.1"
  pods    = var.pods
}

node "node4" {
  on "rack2" { address = "192.168.206.3" }
  gateway = "192.168.206.1"
  pods    = var.pods
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "vxlan"
}

mode "vxlan-direct" {
  use    = "vxlan"
  direct = true
}

mode "calico-vxlan" {
  use  = "vxlan"
  like = "calico"
}

mode "calico-cross-subnet" {
  use    = "vxlan"
  like   = "calico"
  direct = true
}

compare {
  modes    = ["vxlan", "vxlan-direct"]
  paths    = ["cross-node"]
  measures = ["tcp-stream", "tcp-rr"]
  rounds   = 10
}
