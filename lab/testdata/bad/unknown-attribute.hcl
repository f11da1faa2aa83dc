lab "x" {}
switch "lan" {
  subnt = "192.168.1.0/24"
  speed = 3
}
