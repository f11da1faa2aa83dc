#   node1                 node2
#   client                p1 … p10
#      │                     │
#      └─────────────────────┘
#        switch "lan"  172.20.0.0/16
#
# What does a service cost when there are thousands? "lab compare services-scale" makes connections from a pod to the first,
# the middle and the last of so many services, to a pod and to a node, whose addresses no service has; sends a byte there and
# back on connections that stand; and tells the kernel of all services, of one more, and of an endpoint less. It does so for
# each proxy at 10, 1,000 and 4,000 services, and says what one more costs.
# Every service leads to so many pods of node2. Try --sweep services=100,1000,10000, or --var endpoints=10.

lab "services-scale" {
  about = "Thousands of services, and what they cost a connection"
}

variable "services" {
  description = "Services of the cluster"
  default     = 100
}

variable "endpoints" {
  description = "Pods that answer for each of them"
  default     = 2
}

switch "lan" {
  subnet = "172.20.0.0/16"
}

node "node1" {
  on "lan" {}
  pod "client" {}
}

node "node2" {
  on "lan" {}
  pods = var.endpoints
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "host-gw"
}

services {
  cidr = "10.43.0.0/16"
}

service "s" {
  count     = var.services
  endpoints = [for i in range(var.endpoints) : "node2/p${i + 1}"]
  port "http" {
    port   = 80
    target = 8080
  }
}

compare {
  modes    = ["host-gw"]
  proxies  = ["nftables", "iptables"]
  paths    = ["cross-node"]
  measures = ["service-setup", "service-rr", "service-programming"]
  rounds   = 10
  sweep "services" {
    values = [10, 1000, 4000]
  }
}
