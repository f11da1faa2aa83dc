lab "x" {}
switch "a" {
  subnet = "192.168.1.0"
}
switch "b" {
  subnet = "192.168.1.0/33"
}
switch "c" {
  subnet = "lan"
}
switch "d" {
  subnet = "10.1.2.3/32"
}
switch "e" {
  subnet = "224.0.0.0/24"
}
