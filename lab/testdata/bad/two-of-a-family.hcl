lab "x" {}
switch "lan" {
  subnet = ["192.168.1.0/24", "192.168.2.0/24"]
}
switch "dmz" {
  subnet = "192.168.3.0/24"
}
node "n" {
  on "dmz" { address = ["192.168.3.4", "192.168.3.5"] }
}
