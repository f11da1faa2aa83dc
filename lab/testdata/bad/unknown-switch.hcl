lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
node "n" {
  on "lna" {}
}
host "h" {
  on "office" {}
}
