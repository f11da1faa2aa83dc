lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
node "n" {
  on "lan" {}
  pod_cidr = "10.42.0.0/24"
  pod "a" { address = "10.43.0.1" }
  pod "b" { address = "10.42.1.1" }
  pod "c" { address = "10.42.0.0" }
  pod "d" { address = "10.42.0.5" }
  pod "e" { address = "10.42.0.5" }
}
