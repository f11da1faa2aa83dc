lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
host "h" {
  on "lan" {}
  pods = 2
}
node "n" {
  on "lan" {}
  gatway = "192.168.1.1"
  rout {
    to = "10.0.0.0/8"
  }
}
