lab "x" {}
locals {
  n = range(20000)
  a = [for x in local.n : [for y in local.n : x * y]]
}
