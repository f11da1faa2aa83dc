lab "containers" {}

switch "lan" { subnet = "192.168.205.0/24" }

node "n" {
  on "lan" {}
  process "bgp" { command = ["bird"] }
  process "line" { command = "bird -f" }
  process "relative" { command = ["./run.sh"] }
  process "none" {}
  process "lax" {
    command  = ["bird"]
    delegate = true
  }
  pod "p" {
    container "app" {
      command      = ["sleep", 5]
      env          = { "A B" = "x", PORT = 8080 }
      restart      = "sometimes"
      ready        = "8080"
      capabilities = ["NET_ADMIN", "CAP_NET_ADMIN", "net admin"]
      image        = "nginx"
    }
    container "app" { command = ["sleep"] }
    container { command = ["sleep"] }
    process "x" { command = ["sleep"] }
  }
}

network "pods" { cidr = "10.42.0.0/16" }
