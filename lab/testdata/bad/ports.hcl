lab "x" {}
switch "plain" {
  subnet = "192.168.1.0/24"
}
switch "lan" {
  subnet = "192.168.2.0/24"
  vlan "10" { subnet = "10.10.0.0/24" }
  vlan "20" { subnet = "10.20.0.0/24" }
  vlan "30" {}
}
host "a" {
  on "plain" { vlan = 10 }
}
host "b" {
  on "lan" { vlan = 11 }
}
host "c" {
  on "lan" { vlan = 4095 }
}
host "d" {
  on "lan" {
    vlan  = 10
    trunk = [20]
  }
}
host "e" {
  on "lan" { vlan = 30 }
}
node "f" {
  on "lan" { trunk = [10, 20, 10] }
  gateway = "10.10.0.1"
}
node "g" {
  on "lan" { trunk = [10, "x", 21, 5000] }
}
router "r" {
  on "lan" {}
  on "lan" { vlan = 10 }
  on "lan" { vlan = 20 }
  on "lan" { vlan = 10 }
  on "lan" { trunk = [20] }
}
host "h" {
  on "lan" {
    vlan    = 10
    address = "10.20.0.7"
  }
  gateway = "10.20.0.1"
}
host "i" {
  on "lan" { trunk = [] }
}
host "j" {
  on "lan" { vlan = "access" }
  gateway = "10.99.0.1"
}
