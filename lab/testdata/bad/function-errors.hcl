lab "x" {}
locals {
  a = cidrhost("10.0.0.0/24", 256)
  b = cidrsubnet("10.0.0.0/24", 9, 1)
  c = cidrnetmask("fd00::/64")
  d = range(0, 10, -1)
  e = cidrhost("10.0.0", 1)
}
