lab "bridges" {}

switch "lan" { subnet = "192.168.205.0/24" }

node "n" {
  on "lan" {}
  pod "two" { networks = ["backend", "pods"] }
  pod "typo" { networks = ["backendd"] }
  pod "gateway" {
    networks = ["backend"]
    address  = "172.18.0.1"
  }
  pod "outside" {
    networks = ["backend"]
    address  = "10.42.0.9"
  }
  pod "last" {
    networks = ["backend"]
    address  = "172.18.255.255"
  }
  pod "db" {
    labels   = { app = "db" }
    networks = ["backend"]
    address  = "172.18.0.9"
  }
  pod "side" {
    labels   = { app = "side" }
    networks = ["pod:db"]
  }
}

node "m" {
  on "lan" {}
  pod "db" {
    networks = ["backend"]
    address  = "172.18.0.9"
  }
}

network "pods" { cidr = "10.42.0.0/16" }

network "backend" {
  driver = "bridge"
  cidr   = "172.18.0.0/16"
}

network "backend" {
  driver = "bridge"
  cidr   = "172.19.0.0/16"
}

network "more" { cidr = "10.43.0.0/16" }

network "host" {
  driver = "bridge"
  cidr   = "172.20.0.0/16"
}

network "none" {
  driver = "bridge"
  cidr   = "172.18.1.0/24"
}

network "over" {
  driver = "overlay"
  cidr   = "172.21.0.0/16"
}

network "moded" {
  driver = "bridge"
  mode   = "vxlan"
  cidr   = "172.22.0.0/31"
}

network "lan" {
  driver = "bridge"
  cidr   = "192.168.205.128/25"
}

mode "macvlan" { cidr = "172.18.2.0/24" }

service "db" {
  endpoints = ["n/db"]
  port "sql" { port = 5432 }
}

service "side" {
  selector = { app = "side" }
  port "http" { port = 80 }
}
