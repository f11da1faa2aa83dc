lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
  mtu  = 67
}
