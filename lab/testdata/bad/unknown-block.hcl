lab "x" {}
swich "lan" {
  subnet = "192.168.1.0/24"
}
wire "w" {}
