lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
node "a" {
  count = "some"
  on "lna" {}
  pods = -count.index
}
node "b" {
  for_each = ["x"]
  on "lan" { address = "192.168.1.4/24" }
  pods = "many"
}
