lab "x" {}

variable "nodes" {
  default = 0
  validation {
    condition     = var.nodes > 0
    error_message = "A cluster needs a node"
  }
  validation {
    condition     = var.nodes <= var.most
    error_message = "There may be ${var.most} nodes at most."
  }
}

variable "most" {
  default = -1
  validation {
    condition     = local.odd
    error_message = "x"
  }
  validation {
    condition     = "sometimes"
    error_message = "x"
  }
  validation { condition = var.mots > 3 }
  validation {
    condition     = true
    error_message = 3
    severity      = "high"
  }
  validation {
    condition     = can(regex("^[0-9]+$", var.most))
    error_message = "It is a whole number!"
  }
}

variable "late" {
  type = number
  validation {
    condition     = var.late > 0
    error_message = "It must be positive."
  }
}

locals {
  odd = true
}

switch "lan" {
  subnet = cidrsubnet("10.0.0.0/8", var.nodes, 0)
}
