lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
node "worker" {
  count = 2
  on "lan" {}
}
host "worker1" {
  on "lan" {}
}
router "lan" {
  on "lan" {}
}
