lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/29"
}
node "n" {
  count = 6
  on "lan" {}
}
