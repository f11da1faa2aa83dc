lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
node "n" {
  on "lan" { address = "192.168.2.4" }
}
node "m" {
  on "lan" { address = "fd00::1" }
}
