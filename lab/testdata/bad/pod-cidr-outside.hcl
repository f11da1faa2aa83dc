lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
node "n" {
  on "lan" {}
  pod_cidr = "10.43.0.0/24"
}
node "m" {
  on "lan" {}
  pod_cidr = "10.0.0.0/8"
}
