lab "x" {}

terraform {}
provider "aws" {}
resource "aws_instance" "n" {}
module "racks" { source = "./racks" }

variable "rack" {
  type    = object({ subnet = string, mtu = optional(number) })
  default = 3
  validation {
    condition     = var.rack.mtu > 68
    error_message = "${null} is too small"
  }
}
