lab "x" {}
switch "lan" {
  subnet = subnet("10.0.0.0/8", 8, 1)
}
