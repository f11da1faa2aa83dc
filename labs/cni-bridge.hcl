#   node1             node2             node3
#   192.168.205.2     192.168.205.3     192.168.205.4
#   p1 p2             p1 p2             p1 p2
#   10.42.0.0/24      10.42.1.0/24      10.42.2.0/24
#   cni0 .1           cni0 .1           cni0 .1
#      │ eth0            │ eth0            │ eth0
#      └─────────────────┼─────────────────┘
#                  switch "lan"  192.168.205.0/24
#
# Real CNI plugins: each node calls bridge and host-local for each of its pods, as a container runtime would.
# "make cni" builds them; Debian has them in containernetworking-plugins. Routes between the nodes are the lab's.
# Put your own plugin in their place: docs/cni.md does it in ten minutes.

lab "cni-bridge" {
  about = "Pods connected by the real CNI plugin \"bridge\""
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
  pods = var.pods
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "cni"
}

mode "cni" {
  conflist = {
    name       = "pods"
    cniVersion = "1.0.0"
    plugins = [{
      type        = "bridge"
      bridge      = "cni0"
      isGateway   = true
      hairpinMode = true
      ipam = {
        type   = "host-local"
        ranges = [[{ subnet = node.pod_cidr }]]
        routes = [{ dst = "0.0.0.0/0" }]
      }
    }]
  }
}

compare {
  modes    = ["host-gw", "cni"]
  paths    = ["cross-node"]
  measures = ["tcp-rr", "lifecycle"]
  rounds   = 10
}
