lab "x" {}
switch "a" {
  subnet = "10.1.0.0/24"
  rate   = "100"
  delay  = "10"
  jitter = "1h"
  loss   = "1"
}
switch "b" {
  subnet = "10.2.0.0/24"
  rate   = "100mbps"
  delay  = "1ns"
  loss   = 101
}
switch "c" {
  subnet = "10.3.0.0/24"
  rate   = "1bit"
  jitter = "1ms"
  loss   = "-1%"
}
switch "d" {
  subnet = "10.4.0.0/24"
  rate   = 100
  delay  = "1ms"
  jitter = "2ms"
}
