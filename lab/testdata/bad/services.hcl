lab "services" {}

switch "lan" { subnet = "192.168.205.0/24" }

node "a" {
  on "lan" {}
  pods = 1
}

network "pods" { cidr = "10.42.0.0/16" }

services {
  cidr  = "10.96.0.0/16"
  proxy = "ebpf"
}

service "web" {
  type      = "NodePort"
  address   = "10.96.0.10"
  endpoints = ["a/p1", "a/p1", "a/p2", "laptop", "fd00::1"]
  port "http" {
    port      = 80
    node_port = 30080
  }
  port "http" { port = 81 }
  port "again" { port = 80 }
  port "udp" {
    port     = 80
    protocol = "udp"
  }
}

service "outside" {
  address = "10.97.0.10"
  port "http" { port = 80 }
}

service "same" {
  address = "10.96.0.10"
  type    = "NodePort"
  port "http" {
    port      = 80
    node_port = 30080
  }
}

service "inside" {
  port "http" {
    port      = 80
    node_port = 30081
  }
}

service "low" {
  type = "NodePort"
  port "http" {
    port      = 80
    node_port = 80
  }
}

service "odd" {
  type = "ExternalName"
  port "http" {
    port     = 80
    protocol = "sctp"
  }
}

service "none" {}

service "a" {
  port "http" { port = 80 }
}

service "first" {
  address = "10.96.0.0"
  port "http" { port = 80 }
}
