lab "x" {}
variable "pods" { default = 2 }
switch "lan" { subnet = "192.0.2.0/24" }
node "n" {
  count = 2
  on "lan" {}
  pods = var.pods
}
network "pods" { cidr = "10.0.0.0/16" }
compare {
  modes = ["host-gw", "vxlan"]
  sweep "pod" {
    values = [1, 2]
  }
  sweep "pods" {
    values = [1]
  }
  sweep "mtu" {
    values = [1500, [9000], null, "1500"]
  }
  sweep "mtu" {
    values = [1, 2]
  }
  sweep "firewall" {
    values = ["on", "of"]
  }
  sweep "rate" {
    value = ["1mbit"]
  }
}
