lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
switch "office" {
  subnet = "192.168.0.0/16"
}
