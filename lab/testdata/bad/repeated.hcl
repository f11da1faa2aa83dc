lab "x" {}

switch "rack" {
  for_each = ["a", "b"]
  subnet   = "10.0.0.0/24"
}

switch "row" {
  count  = 2
  subnet = "10.1.0.0/24"
}

switch "hall" {
  count  = "many"
  subnet = "10.1.0.0/240"
}

switch "lan" {
  for_each = toset(["A"])
  subnet   = cidrsubnet("10.2.0.0/16", 8, count.index)
}

node "n" {
  count = 2
  on "row1" {}
  on "rack-a" {}
  on "hall7" {}
  on "row3" {}
  pod "web" {
    count   = 2
    address = "10.42.0.9"
  }
  pod "web1" {}
  pod "db" {
    for_each = { a = 1 }
    count    = 1
  }
  pod "x" { for_each = each.value }
  pod "many" { count = 5000 }
}

network "pods" { cidr = "10.42.0.0/16" }
