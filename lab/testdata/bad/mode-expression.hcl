lab "x" {}
mode "vxlan" {
  vni = maxx(1, 2)
  deep {
    port = 1 + "x"
  }
}
