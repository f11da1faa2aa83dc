#   master            worker1           worker2
#   192.168.205.4     192.168.205.2     192.168.205.3
#      │                 │                 │
#      └─────────────────┼─────────────────┘
#                  switch "lan"  192.168.205.0/24
#                        │ .1
#                    router gw
#                        │ .1
#                  switch "office"  172.16.0.0/24
#                        │ .10
#                     host laptop
#
# A cluster of one master and two workers with the world around it: a router leads to an office, where a laptop is.
# The router knows nothing of the pod network except one static route by way of the master.
# Ask from the laptop for a pod, and trace what each mode makes of the way back.

lab "office" {
  about = "A cluster behind a router, and a laptop on the other side"
}

variable "pods" {
  description = "Pods on each node"
  default     = 2
}

locals {
  gateway = cidrhost("192.168.205.0/24", 1)
  master  = cidrhost("192.168.205.0/24", 4)
  pods    = "10.42.0.0/16"
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

switch "office" {
  subnet = "172.16.0.0/24"
  rate   = "100mbit"
}

node "master" {
  on "lan" { address = local.master }
  gateway = local.gateway
  pods    = var.pods
}

node "worker" {
  count = 2
  on "lan" {}
  gateway = local.gateway
  pods    = var.pods
}

network "pods" {
  cidr = local.pods
  mode = "host-gw"
}

router "gw" {
  on "lan" { address = local.gateway }
  on "office" { address = "172.16.0.1" }
  route {
    to  = local.pods
    via = local.master
  }
}

host "laptop" {
  on "office" { address = "172.16.0.10" }
  gateway = "172.16.0.1"
}
