lab "podnetworks" {}

switch "lan" { subnet = "192.168.205.0/24" }

node "n" {
  on "lan" {}
  serve = ["tcp/80"]
  pod "a" { networks = ["pod:b"] }
  pod "b" { networks = ["pod:c"] }
  pod "c" { networks = ["pod:a"] }
  pod "self" { networks = ["pod:self"] }
  pod "unknown" { networks = ["pod:nobody"] }
  pod "across" { networks = ["pod:m/web"] }
  pod "two" { networks = ["pods", "none"] }
  pod "typo" { networks = ["hots"] }
  pod "addressed" {
    networks = ["none"]
    address  = "10.42.0.9"
  }
  pod "taken" {
    networks = ["host"]
    serve    = ["tcp/80"]
  }
  pod "web" { serve = ["tcp/80"] }
  pod "side" {
    networks = ["pod:web"]
    serve    = ["tcp/81", "tcp/80"]
  }
}

node "m" {
  on "lan" {}
  pod "web" {}
}

network "pods" { cidr = "10.42.0.0/16" }
