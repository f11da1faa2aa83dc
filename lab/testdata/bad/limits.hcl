lab "limits" {}

switch "lan" { subnet = "192.168.205.0/24" }

host "h" {
  on "lan" {}
  process "a" {
    command = ["sleep", "1"]
    memory  = "64 megs"
    cpus    = 0
    pids    = 0
  }
  process "b" {
    command = ["sleep", "1"]
    memory  = "1MB"
    cpus    = "half"
    pids    = 1.5
  }
  process "c" {
    command = ["sleep", "1"]
    memory  = 67108864
  }
}
