lab "x" {}
switch "lan" {
  subnet = "192.168.1.7/24"
}
