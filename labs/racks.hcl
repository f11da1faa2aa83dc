lab "racks" {
  about = "Racks written as data: a switch for each, two routers between them, and nodes that spread their flows over both"
}

variable "racks" {
  description = "The racks: how many nodes each has, and what its network can do"
  type = map(object({
    nodes = optional(number, 2)
    mtu   = optional(number, 1500)
  }))
  default = {
    a = {}
    b = { nodes = 1 }
  }
  validation {
    condition     = alltrue([for r in values(var.racks) : r.nodes >= 1 && r.nodes <= 100])
    error_message = "A rack has 1 to 100 nodes."
  }
}

locals {
  names   = keys(var.racks)
  subnets = zipmap(local.names, cidrsubnets("10.1.0.0/16", [for name in local.names : 8]...))
  spines  = [1, 2]
  nodes = { for n in flatten([
    for name, rack in var.racks : [for i in range(rack.nodes) : { name = "${name}${i + 1}", rack = name }]
  ]) : n.name => n }
}

switch "rack" {
  for_each = var.racks # rack-a, rack-b
  subnet   = local.subnets[each.key]
  mtu      = each.value.mtu
}

router "spine" {
  count = length(local.spines) # spine1, spine2
  dynamic "on" {
    for_each = local.subnets
    labels   = ["rack-${on.key}"]
    content { address = cidrhost(on.value, local.spines[count.index]) }
  }
}

node "node" {
  for_each = local.nodes # node-a1, node-a2, node-b1
  dynamic "on" {
    for_each = [each.value.rack]
    labels   = ["rack-${on.value}"]
    content {}
  }
  route {
    to  = "default"
    via = [for s in local.spines : cidrhost(local.subnets[each.value.rack], s)]
  }
  pod "web" { count = 2 } # web1, web2
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "vxlan"
}

output "subnets" {
  description = "The network of each rack"
  value       = local.subnets
}
