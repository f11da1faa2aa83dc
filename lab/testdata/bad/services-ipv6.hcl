lab "services-ipv6" {}

switch "lan" { subnet = "192.168.205.0/24" }

node "a" {
  on "lan" {}
}

network "pods" { cidr = "10.42.0.0/16" }

services { cidr = ["10.96.0.0/16", "fd00:96::/112"] }

service "twice" {
  address = ["fd00:96::10", "fd00:96::11"]
  port "http" { port = 80 }
}

service "first" {
  address = ["10.96.0.10", "fd00:96::10"]
  port "http" { port = 80 }
}

service "same" {
  address = "fd00:96::10"
  port "http" { port = 80 }
}

service "outside" {
  address = "fd00:97::10"
  port "http" { port = 80 }
}
