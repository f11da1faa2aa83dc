lab "services-traffic" {}

switch "lan" { subnet = "192.168.205.0/24" }

switch "office" { subnet = "172.16.0.0/24" }

host "laptop" {
  on "office" {}
}

node "a" {
  on "lan" { address = "192.168.205.3" }
}

network "pods" { cidr = "10.42.0.0/16" }

services {
  masquerade_all = "yes"
  node_ports     = "32767-30000"
}

service "web" {
  affinity         = "Cookie"
  external_traffic = "Local"
  external_address = "192.168.205.50"
  internal_traffic = "Node"
  port "http" { port = 80 }
}

service "bare" {
  type     = "Headless"
  address  = "10.96.0.10"
  affinity = "ClientIP"
  port "http" {
    port      = 80
    node_port = 30080
  }
}

service "taken" {
  type             = "LoadBalancer"
  external_address = "192.168.205.3"
  port "http" { port = 80 }
}

service "elsewhere" {
  type             = "LoadBalancer"
  external_address = "172.16.0.50"
  port "http" { port = 80 }
}

service "one" {
  type             = "LoadBalancer"
  external_address = "192.168.205.60"
  port "http" { port = 80 }
}

service "two" {
  type             = "LoadBalancer"
  external_address = "192.168.205.60"
  port "http" { port = 80 }
}

service "broadcast" {
  type             = "LoadBalancer"
  external_address = "192.168.205.255"
  port "http" { port = 80 }
}
