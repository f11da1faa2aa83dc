lab "x" {}

switch "lan" { subnet = ["192.168.1.0/24", "fd00:1::/64"] }

router "r" {
  count = 3
  on "lan" {}
}

host "h" {
  on "lan" {}
  route {
    to  = "default"
    via = ["192.168.1.1", "fd00:1::1"]
  }
  route {
    to      = "10.1.0.0/16"
    via     = ["192.168.1.1", "192.168.1.2"]
    weights = [1]
  }
  route {
    to      = "10.2.0.0/16"
    via     = ["192.168.1.1", "192.168.1.2"]
    weights = [0, 256]
  }
  route {
    to  = "10.3.0.0/16"
    via = ["192.168.1.1", "192.168.1.1"]
  }
  route {
    to  = "10.4.0.0/16"
    via = ["192.168.1.1", "192.168.2.1"]
  }
  route {
    to  = "10.5.0.0/16"
    via = []
  }
  route {
    to      = "10.6.0.0/16"
    via     = "192.168.1.1"
    weights = "two"
  }
  route {
    to  = "10.7.0.0/16"
    via = ["fd00:1::1", "fd00:1::2"]
  }
  route {
    to  = "defaut"
    via = "192.168.1.1"
  }
  route {
    to  = "default"
    via = "192.168.1.1"
  }
  route {
    to  = "0.0.0.0/0"
    via = "192.168.1.1"
  }
  gateway = "192.168.1.2"
}
