lab "x" {}
variable "n" {
  type    = number
  default = "many"
}
variable "t" {
  type = strnig
  default = 1
}
variable "r" {
  default = var.n
}
variable "n" {
  default = 1
}
variable "1x" {
  default = 1
}
