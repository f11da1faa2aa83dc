lab "services" {}

switch "lan" { subnet = "192.168.205.0/24" }

node "a" {
  on "lan" {}
}

services { cidr = "192.168.0.0/16" }

services { cidr = "fd00:96::/112" }

service "web" {
  port "http" { port = 80 }
}
