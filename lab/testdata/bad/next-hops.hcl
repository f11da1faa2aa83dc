lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
host "h" {
  on "lan" { address = "192.168.1.7" }
  gateway = "192.168.1.7"
}
host "i" {
  on "lan" {}
  gateway = "192.168.1.77"
}
