lab "x" {}

variable "quoted" {
  type = object({ mtu = optional("number") })
}

variable "wrong-default" {
  type = object({ mtu = optional(number, "large") })
}

variable "outside" {
  type    = optional(string)
  default = ""
}

variable "racks" {
  type = map(object({
    subnet = string
    nodes  = optional(number, 2)
  }))
  default = {
    a = { subnet = "10.0.0.0/24" }
    b = { subnet = "10.0.1.0/24", nodes = "two" }
  }
}

variable "missing" {
  type    = list(object({ name = string, mtu = optional(number) }))
  default = [{ name = "a" }, { mtu = 1500 }]
}
