lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
router "r" {
  on "lan" {}
  on "lan" {}
}
