lab "My Lab" {}
switch "lan" {
  subnet = "192.168.1.0/24"
}
switch "a.b" {
  subnet = "10.1.0.0/24"
}
node "Web_1" {
  on "lan" {}
}
node "-" {
  on "lan" {}
}
node "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" {
  count = 1
  on "lan" {}
}
node "n" {
  for_each = toset(["ok", "Not ok"])
  on "lan" {}
}
