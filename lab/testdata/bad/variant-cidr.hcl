lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
node "n" {
  on "lan" {}
  pod_cidr = "10.43.1.0/24"
  pod "a" { address = "10.43.2.5" }
  pod "b" { address = "10.44.0.5" }
}
network "pods" {
  cidr = "10.42.0.0/16"
}
mode "far" {
  use  = "vxlan"
  cidr = "10.43.0.0/16"
}
mode "wrong" {
  use  = "vxlan"
  cidr = ["10.45.0.0/16", "10.46.0.0/33"]
}
