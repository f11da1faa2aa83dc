#   node1                node2                node3
#   192.168.205.2        192.168.205.3        192.168.205.4
#   fd00:205::2          fd00:205::3          fd00:205::4
#      │ eth0               │ eth0               │ eth0
#      └────────────────────┼────────────────────┘
#                     switch "lan"  192.168.205.0/24  fd00:205::/64
#
# Every interface and every pod has an address of each family.
# Where a subnet or a CIDR is a list, everything that belongs to it is there once for each of its elements.
# Encapsulation costs more over IPv6, and the MTU of the pods shows it.

lab "dual-stack" {
  about = "Three nodes with IPv4 and IPv6"
}

variable "pods" {
  description = "Pods on each node"
  default     = 2
}

switch "lan" {
  subnet = ["192.168.205.0/24", "fd00:205::/64"]
}

node "node" {
  count = 3
  on "lan" {}
  pods = var.pods
}

network "pods" {
  cidr = ["10.42.0.0/16", "fd00:42::/48"]
  mode = "host-gw"
}
