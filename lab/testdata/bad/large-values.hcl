lab "x" {}
locals {
  n = range(20000)
  b = range(20001)
  c = "${1e99999999}!"
  d = format("%9999d", 1)
  e = format("%d", "1e99999999")
  f = join("0123456789", [for x in local.n : "x"])
  g = [for x in local.n : x % 2 == 0 ? { a = x } : { b = x }]
  h = [for x in local.n : [x]][*][0]
  i = { for x in local.n : "k${x}" => x % 2 == 0 ? ["a"] : [1, 2] }
}
