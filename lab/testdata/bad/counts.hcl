lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
node "a" {
  count = 4097
  on "lan" {}
}
node "b" {
  on "lan" {}
  pods = 1025
}
node "c" {
  count = -1
  on "lan" {}
}
node "d" {
  count    = 1
  for_each = {}
  on "lan" {}
}
