lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
node "a" {
  on "lan" {}
  pod_cidr = "10.42.0.0/23"
}
node "b" {
  on "lan" {}
  pod_cidr = "10.42.1.0/24"
}
node "c" {
  count = 2
  on "lan" {}
  pod_cidr = "10.42.9.0/24"
}
