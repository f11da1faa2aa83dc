lab "publish" {}
switch "lan" { subnet = "192.168.205.0/24" }
node "n" {
  on "lan" {}
  serve = ["tcp/9100"]
  pod "a" { publish = ["8080", "80/tcp", "8080:80/sctp", "0:80", "08080:80", "8080:70000", "9100:80", "8080:80", "5353:53/udp"] }
  pod "b" { publish = "8080:80" }
  pod "c" {
    networks = ["pod:a"]
    publish  = ["8081:80"]
  }
  pod "d" {
    networks = ["host"]
    serve    = ["tcp/82"]
  }
  pod "e" { publish = ["82:80", "82:80/udp"] }
}
network "pods" { cidr = "10.42.0.0/16" }
