lab "x" {}
switch "a" {
  subnet = "10.1.0.0/24"
  mtu    = 67
}
switch "b" {
  subnet = "10.2.0.0/24"
  mtu    = 65536
}
switch "c" {
  subnet = ["10.3.0.0/24", "fd00:3::/64"]
  mtu    = 1279
}
