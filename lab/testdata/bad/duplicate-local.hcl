lab "x" {}
locals {
  a = 1
}
locals {
  a = 2
  x "y" {}
}
