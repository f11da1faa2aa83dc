lab "x" {}
switch "lan" {}
router "r" {
  on "lan" {}
  route {
    to = "10.0.0.0/8"
  }
}
network "pods" {}
compare {}
