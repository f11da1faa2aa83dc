lab "x" {}
variable "nodes" {
  type = number
}
