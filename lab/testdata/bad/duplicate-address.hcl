lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
node "a" {
  on "lan" { address = "192.168.1.4" }
}
node "b" {
  on "lan" { address = "192.168.1.4" }
}
node "c" {
  count = 3
  on "lan" { address = "192.168.1.5" }
}
