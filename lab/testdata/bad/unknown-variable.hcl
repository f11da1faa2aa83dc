lab "x" {}
variable "pods" {
  default = 2
}
locals {
  base = 1
}
switch "lan" {
  subnet = "192.168.1.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
node "n" {
  on "lan" {}
  pods = var.pdos + local.bsae
}
node "m" {
  on "lan" {}
  pods = pods
}
node "o" {
  on "lan" {}
  pods = vra.pods
}
node "q" {
  on "lan" {}
  pods = var
}
