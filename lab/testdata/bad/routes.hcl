lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
router "r" {
  on "lan" {}
  route {
    to  = "10.0.0.0/8"
    via = "10.0.0.1"
  }
  route {
    to  = "fd00::/8"
    via = "192.168.1.4"
  }
  route {
    to  = "10.1.0.0/16"
    via = "192.168.1.4"
  }
  route {
    to  = "10.1.0.0/16"
    via = "192.168.1.5"
  }
  route {
    to  = "10.2.1.0/16"
    via = "192.168.1.5"
  }
}
