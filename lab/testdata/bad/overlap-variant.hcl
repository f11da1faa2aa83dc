lab "x" {}
switch "lan" {
  subnet = "10.20.7.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
mode "far" {
  use  = "vxlan"
  cidr = "10.20.0.0/16"
}
