lab "x" {}
switch "lan" {
  subnet = "172.16.0.0/16"
}
network "pods" {
  cidr = "10.0.0.0/8"
}
node "n" {
  count = 21
  on "lan" {}
  pods = 1000
}
