#   host "outside" 192.168.205.100
#      │
#   switch "lan"  192.168.205.0/24
#      │ 192.168.205.10
#   node "docker"
#      │ cni0  172.17.0.1, what Docker calls docker0
#      ├── web     172.17.0.2   docker run --network bridge -p 8080:80
#      │   └── tools            docker run --network container:web
#      ├── client  172.17.0.3   docker run --network bridge
#      ├── agent                docker run --network host
#      ├── batch                docker run --network none
#      │ br-backend  172.18.0.1  docker network create --subnet 172.18.0.0/16 backend
#      ├── db      172.18.0.2   docker run --network backend
#      └── api     172.18.0.3   docker run --network backend -p 9000:80
#
# Docker's four types of networks side by side. A pod with networks = ["host"] is in its node's namespace, one with ["none"]
# has nothing but lo, and one with ["pod:web"] is where web is: they share addresses, ports and lo. One with ["backend"] is on a
# bridge of its own, which the node keeps apart from the others: lab exec docker -- iptables -S
#
#   lab exec docker/client -- curl web.docker:80        over the bridge
#   lab exec docker/tools -- curl localhost:80          web and tools have one lo
#   lab exec docker/client -- curl localhost:80         refused: client has its own
#   lab exec outside -- curl 192.168.205.10:9100        agent answers at the node's address
#   lab exec outside -- curl 192.168.205.10:8080        the node's port leads to web, and to nobody else of the bridge
#   lab exec docker/batch -- ip address                 lo, and nothing leads anywhere
#   lab logs docker/batch:job -f                        its work goes on all the same
#   lab exec docker/api -- curl db:5432                 a network of one's own has its names
#   lab exec docker/client -- curl -m 3 172.18.0.2:5432 nobody comes in from another network
#   lab exec docker/api -- curl -m 3 172.17.0.2         nor out into another
#   lab exec docker/db -- curl outside:80               outside sees the node
#   lab exec outside -- curl 192.168.205.10:9000        what api publishes leads in
#
# What web publishes docker run has as -p 8080:80. The rules are those of CNI's portmap: lab exec docker -- iptables-save -t nat

lab "docker-networks" {
  about = "Docker's four network types side by side: bridge, host, none, container"
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

host "outside" {
  on "lan" { address = "192.168.205.100" }
  serve = ["tcp/80"]
}

node "docker" {
  on "lan" { address = "192.168.205.10" }
  pod_cidr = "172.17.0.0/16"
  pod "web" {
    address = "172.17.0.2"
    serve   = ["tcp/80"]
    publish = ["8080:80"]
  }
  pod "client" { address = "172.17.0.3" }
  pod "tools" {
    networks = ["pod:web"]
    serve    = ["tcp/8081"]
  }
  pod "agent" {
    networks = ["host"]
    serve    = ["tcp/9100"]
  }
  pod "batch" {
    networks = ["none"]
    serve    = ["tcp/80"]
    container "job" { command = ["sh", "-c", "while date; do sleep 10; done"] }
  }
  pod "db" {
    networks = ["backend"]
    serve    = ["tcp/5432"]
  }
  pod "api" {
    networks = ["backend"]
    serve    = ["tcp/80"]
    publish  = ["9000:80"]
  }
}

network "bridge" {
  cidr = "172.17.0.0/16"
}

network "backend" {
  driver = "bridge"
  cidr   = "172.18.0.0/16"
}
