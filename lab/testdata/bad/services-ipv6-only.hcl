lab "services-ipv6-only" {}

switch "lan" { subnet = "192.168.205.0/24" }

node "a" {
  on "lan" {}
}

network "pods" { cidr = "10.42.0.0/16" }

services { cidr = "fd00:96::/112" }
