lab "x" {}

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
