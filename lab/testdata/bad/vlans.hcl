lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
  mtu    = 1000
  vlan "0" {}
  vlan "4095" {}
  vlan "ten" {}
  vlan "010" {}
  vlan {}
  vlan "10" { subnet = "10.10.0.0/24" }
  vlan "10" {}
  vlan "20" {
    subnet = "10.20.0.1/24"
    mtu    = 1400
  }
  vlan "30" { subnet = "10.10.0.128/25" }
  vlan "40" { subnet = "fd40::/64" }
  vlan "50" { subnet = "10.50.0.1/32" }
  vlan "60" { subnet = "192.168.0.0/16" }
}
