lab "x" {}

locals {
  nets = { a = "lan", b = "wan" }
}

dynamic "node" {
  for_each = local.nets
}

switch "lan" { subnet = "192.168.1.0/24" }
switch "wan" { subnet = "192.168.2.0/24" }

node "without-content" {
  dynamic "on" {
    for_each = local.nets
    labels   = [on.value]
  }
}

node "without-label" {
  dynamic "on" {
    for_each = local.nets
    content {}
  }
}

node "unknown-kind" {
  on "lan" {}
  dynamic "onn" {
    for_each = local.nets
    content {}
  }
}

node "no-kind" {
  on "lan" {}
  dynamic {
    for_each = local.nets
    content {}
  }
}

node "twice" {
  dynamic "on" {
    for_each = local.nets
    labels   = ["lan"]
    content {}
  }
}

node "unknown-switch" {
  dynamic "on" {
    for_each = ["lan", "wann"]
    labels   = [on.value]
    content {}
  }
}

node "names" {
  dynamic "on" {
    for_each = local.nets
    iterator = "nic"
    labels   = [nic.value]
    content {}
  }
  dynamic "on" {
    for_each = local.nets
    iterator = each
    labels   = [on.value]
    content {}
  }
  dynamic "on" {
    for_each = on.value
    labels   = [on.address]
    content { address = pod.value }
  }
}

node "each" {
  dynamic "on" {
    for_each = local.nets
    labels   = [each.value]
    content {}
  }
}

node "for-each" {
  on "wan" {}
  dynamic "on" {
    for_each = 3
    labels   = [on.value]
    content {}
  }
  dynamic "on" {
    labels = ["lan"]
    content {}
  }
  dynamic "on" {
    for_each = null
    labels   = ["lan"]
    content {}
  }
}

node "labels" {
  on "lan" {}
  dynamic "on" {
    for_each = [1]
    labels   = ["wan", "lan"]
    content {}
  }
  dynamic "on" {
    for_each = [true]
    labels   = [on.value]
    content {}
  }
  dynamic "route" {
    for_each = [1]
    labels   = ["lan"]
    content {
      to    = "10.0.0.0/8"
      via   = "192.168.1.1"
      metic = 3
    }
    content {}
  }
}
