lab "x" {}

node "none" {
  count = 2
  dynamic "on" {
    for_each = []
    labels   = [on.value]
    content {}
  }
}
