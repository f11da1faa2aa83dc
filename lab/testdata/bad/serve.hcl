lab "serve" {}

switch "lan" { subnet = "192.168.205.0/24" }

node "n" {
  on "lan" {}
  pods       = 2
  pod_labels = { node = "other", "not a name" = "x", tier = 3 }
  serve      = ["8080/tcp", "tcp/0", "tcp/80", "tcp/80", "sctp/1"]
  pod "p1" {
    labels = ["app"]
    serve  = ["9090", "udp/053"]
  }
  pod "p2" {
    labels = { app = "-web" }
  }
}

network "pods" { cidr = "10.42.0.0/16" }

service "both" {
  selector  = { app = "web" }
  endpoints = ["n/p1"]
  port "http" { port = 80 }
}

service "all" {
  selector = {}
  port "http" { port = 80 }
}
