lab "x" {}
network "pods" {
  cidr = "10.42.0.0/16"
}
network "more" {
  cidr = "10.43.0.0/16"
}
