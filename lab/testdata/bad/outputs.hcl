lab "x" {}

switch "lan" { subnet = local.lan }
locals { lan = host.h.name }
output "nobody" { value = host.hh }
output "all" { value = host }
output "missing" { value = host.h[2].name }
output "other" { value = host.h[0].adresses }
output "kind" { value = nodes.n }
output "block" { value = h.name }
output "two" { value = node.n }
host "h" {
  count = 2
  on "lan" {}
}
node "n" { count = 0 }
node "n" { for_each = {} }

output "a" { value = var.missing }
output "a b" { value = 1 }
output "c" {}
output { value = 2 }
output "c" { value = null }
output "d" {
  value       = 1 / 0
  description = 3
}
output "e" { value = 1 }
output "e" { value = 2 }
output "f" {
  value     = each.key
  sensitive = true
}
