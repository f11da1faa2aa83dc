lab "x" {}
compare {
  modes    = ["host-gw", "vxlan", "host-gw", "VXLAN"]
  paths    = ["cross-nod", "everywhere"]
  measures = ["tcp-streams", "udp"]
  rounds   = 0
}
compare {
  modes = []
}
