lab "x" {}
mode "vxlan" {
  vni = 1
}
mode "vxlan" {
  vni = 2
}
mode "Calico" {
  use = "vx lan"
}
