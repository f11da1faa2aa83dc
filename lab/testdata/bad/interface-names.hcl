lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
switch "wan" {
  subnet = "192.168.2.0/24"
}
switch "dmz" {
  subnet = "192.168.3.0/24"
}
node "long" {
  on "lan" { name = "enx0011223344556" }
}
node "slash" {
  on "lan" { name = "a/b" }
}
node "dots" {
  on "lan" { name = ".." }
}
node "format" {
  on "lan" { name = "eth%d" }
}
node "digit" {
  on "lan" { name = "5" }
}
node "empty" {
  on "lan" { name = "" }
}
node "loopback" {
  on "lan" { name = "lo" }
}
node "sysctls" {
  on "lan" { name = "all" }
  on "wan" { name = "default" }
}
host "tunnel" {
  on "lan" { name = "tunl0" }
}
node "pods" {
  on "lan" { name = "cali1" }
}
node "twice" {
  on "lan" { name = "ens192" }
  on "wan" { name = "ens192" }
}
router "number" {
  on "lan" { name = "eth1" }
  on "wan" {}
  on "dmz" { name = "eth1" }
}
node "type" {
  on "lan" { name = 192 }
}
