#   laptop 172.16.0.10
#      │
#   switch "office"  172.16.0.0/24
#      │ 172.16.0.1
#   gw │ 192.168.205.1
#      └─────────────────┬─────────────────┐
#                  switch "lan"  192.168.205.0/24
#                        │ 192.168.205.4   │ 192.168.205.3
#                     master             worker
#                     p1 10.42.0.65      p1 10.42.1.9
#                     p2                 p2
#
# Three services, as kube-proxy's nftables proxy makes them, in front of pods that answer who they are and whom they took for
# the client. Ask for "web" in any pod (curl web), for 192.168.205.3:32506 from the laptop, and for "nobody", which no pod
# answers.
# The gateway sends what is for the services' addresses to the master, so that the laptop reaches those too.

lab "services" {
  about = "Services in front of pods: a cluster IP, a node port, one without endpoints"
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

switch "office" {
  subnet = "172.16.0.0/24"
}

router "gw" {
  on "lan" { address = "192.168.205.1" }
  on "office" { address = "172.16.0.1" }
  route {
    to  = "10.43.0.0/16"
    via = "192.168.205.4"
  }
}

host "laptop" {
  on "office" { address = "172.16.0.10" }
  gateway = "172.16.0.1"
}

node "master" {
  on "lan" { address = "192.168.205.4" }
  gateway  = "192.168.205.1"
  pod_cidr = "10.42.0.0/24"
  pods     = 2
  pod "p1" {
    address = "10.42.0.65"
    labels  = { app = "web" }
    serve   = ["tcp/8080"]
  }
}

node "worker" {
  on "lan" { address = "192.168.205.3" }
  gateway  = "192.168.205.1"
  pod_cidr = "10.42.1.0/24"
  pods     = 2
  pod "p1" {
    address = "10.42.1.9"
    labels  = { app = "web" }
    serve   = ["tcp/8080"]
  }
  pod "p2" { serve = ["udp/53"] }
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "vxlan"
}

services {
  cidr = "10.43.0.0/16"
}

service "web" {
  type     = "NodePort"
  address  = "10.43.6.58"
  selector = { app = "web" }
  port "http" {
    port      = 80
    target    = 8080
    node_port = 32506
  }
}

service "dns" {
  address   = "10.43.0.10"
  endpoints = ["worker/p2"]
  port "dns" {
    port     = 53
    protocol = "udp"
  }
}

service "nobody" {
  port "http" { port = 80 }
}
