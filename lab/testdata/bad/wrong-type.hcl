lab "x" {
  about = 7
}
switch "lan" {
  subnet = [1, 2]
  mtu    = "big"
}
node "n" {
  on "lan" {}
  pods  = [1]
  count = 1.5
}
node "m" {
  for_each = ["a", "b"]
  on "lan" {}
}
