lab "x" {}
switch "lan" {
  subnet = "10.0.0.0/8
}
