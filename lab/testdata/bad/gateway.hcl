lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
switch "office" {
  subnet = "172.16.0.0/24"
}
host "h" {
  on "lan" {}
  gateway = "172.16.0.1"
}
host "i" {
  on "lan" {}
  gateway = "192.168.1.255"
}
host "j" {
  on "lan" {}
  gateway = "192.168.1.1"
  route {
    to  = "0.0.0.0/0"
    via = "192.168.1.1"
  }
}
