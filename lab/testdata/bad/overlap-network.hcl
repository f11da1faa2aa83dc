lab "x" {}
switch "lan" {
  subnet = "10.42.7.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
