lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
network "pods" {
  cidr = "10.42.0.0/16"
}
node "n" {
  on "lan" {}
  pods = 2
  pod "web" {}
  pod "p1" {}
  pod "web" {}
}
