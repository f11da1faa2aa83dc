# One of each, to see that all are reported at once.
lab "several" {
  abot = "typo"
}

switch "lan" {
  subnet = "192.168.1.1/24"
  mtu    = 9
}

node "a" {
  on "lna" {}
  pods = var.pods
}

node "b" {
  on "lan" { address = "192.168.1.300" }
  pod_cidr = "10.42.0.0/16"
}

node "b" {
  on "lan" {}
}

network "pods" {
  cidr = "10.42.0.0/16"
  mod  = "vxlan"
}
