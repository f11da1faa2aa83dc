lab "x" {}
switch "lan" {
  subnet = cidrsubnets("10.0.0.0/8", 8, 1)
}
