lab {}
lab "x" "y" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
switch {
  subnet = "192.168.2.0/24"
}
compare "a" {
  modes = ["host-gw"]
}
