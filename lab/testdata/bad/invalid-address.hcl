lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
node "n" {
  on "lan" { address = "192.168.1.4/24" }
}
node "m" {
  on "lan" { address = "192.168.1.400" }
}
node "o" {
  on "lan" { address = "::ffff:192.168.1.4" }
}
node "q" {
  on "lan" { address = "127.0.0.1" }
}
