#   node1             node2             node3
#   agent             agent             agent        lab __agent … udp, a process
#     │ flannel0        │ flannel0        │ flannel0   TUN device, 10.42.x.0/32
#   cni0              cni0              cni0
#   p1 p2             p1 p2             p1 p2
#      │ eth0            │ eth0            │ eth0
#      └─────────────────┼─────────────────┘
#                  switch "lan"  192.168.205.0/24   IP in UDP, port 8285
#
# flannel's first backend: on every node a process carries the pods' packets between a TUN device and UDP.
# It runs on every kernel, and shows what it costs when each packet wakes a process on both nodes.
# Compare it with vxlan, which does the same inside the kernel.

lab "flannel-udp" {
  about = "flannel's udp backend: a user-space proxy on every node"
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
  mode = "udp"
}

mode "udp" {
  port = 8285
}

compare {
  modes    = ["host-gw", "vxlan", "udp"]
  paths    = ["same-node", "cross-node"]
  measures = ["tcp-stream", "tcp-rr"]
  rounds   = 10
}
