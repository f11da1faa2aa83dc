lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
node "a" {
  on "lan" {}
  pod_cidr = "10.42.0.0/24"
  pods     = 4
  pod "p1" { address = "10.42.1.65" }
  pod "p2" { address = "fd00:42::2" }
  pod "p3" { address = "10.42.0.65" }
  pod "p4" { address = "10.42.0.65" }
}
node "b" {
  count = 2
  on "lan" {}
  pods = 1
  pod "p1" { address = "10.42.2.9" }
}
