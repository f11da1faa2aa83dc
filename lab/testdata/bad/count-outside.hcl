lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
host "h" {
  on "lan" { address = cidrhost("192.168.1.0/24", count.index) }
}
host "i" {
  count = count.index
  on "lan" {}
}
host "j" {
  count = 1
  on "lan" { address = each.key }
}
host "k" {
  for_each = toset(["a"])
  on "lan" { address = each.valeu }
}
