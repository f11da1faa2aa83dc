lab "x" {}
locals {
  n = range(20000)
  b = range(20001)
  c = "${1e99999999}!"
  d = format("%9999d", 1)
  e = format("%d", "1e99999999")
  f = join("0123456789", [for x in local.n : "x"])
}
