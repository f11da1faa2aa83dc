lab "x" {}
mode "vxlan" {
  vni = var.vni
  deep {
    port = local.port
  }
}
