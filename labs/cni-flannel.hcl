#   node1             node2             node3
#   192.168.205.2     192.168.205.3     192.168.205.4
#   p1 p2             p1 p2             p1 p2
#   10.42.0.0/24      10.42.1.0/24      10.42.2.0/24
#   cni0 .1           cni0 .1           cni0 .1
#      │ eth0            │ eth0            │ eth0
#      └─────────────────┼─────────────────┘
#                  switch "lan"  192.168.205.0/24
#
# Flannel's own CNI plugin, as its manifest configures it, and portmap after it. The plugin reads what flanneld says of a node
# in /run/flannel/subnet.env, and has bridge and host-local do the rest. The lab does flanneld's part: it writes that file for
# each node, and connects the nodes as its backend host-gw does.
# The plugin "flannel" comes from github.com/flannel-io/cni-plugin, the others from "make cni".

lab "cni-flannel" {
  about = "Pods connected by flannel's CNI plugin"
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
  mode = "cni"
}

mode "cni" {
  conflist = {
    name       = "cbr0"
    cniVersion = "1.0.0"
    plugins = [
      { type = "flannel", delegate = { hairpinMode = true, isDefaultGateway = true } },
      { type = "portmap", capabilities = { portMappings = true } },
    ]
  }
  files = {
    "/run/flannel/subnet.env" = <<-EOT
      FLANNEL_NETWORK=10.42.0.0/16
      FLANNEL_SUBNET=${cidrhost(node.pod_cidr, 1)}/24
      FLANNEL_MTU=${node.mtu}
      FLANNEL_IPMASQ=true
    EOT
  }
}
