#   browser 192.168.205.100
#      │
#   switch "lan"  192.168.205.0/24
#      ├─────────────────────┬─────────────────────┐
#   node1                 node2                 node3
#   frontend  app=guestbook, tier=frontend, one on each node
#   redis-master             redis-replica         redis-replica
#
# The guestbook of the Kubernetes tutorials, as far as packets go: a front end that everybody reaches by a node port, a master
# that the front ends write to, and replicas that they read from. Each pod answers who it is and whom it took for the client.
#
#   lab exec browser -- curl 192.168.205.11:30080          a front end, on any node; it sees a node, since that masquerades
#   lab exec node3/frontend -- curl redis-master:6379      the master; it sees the front end
#   lab exec node1/frontend -- curl redis-replica:6379     one replica or the other
#   lab logs node2/redis-replica -f                        who reads
#   lab graph                                              the picture

lab "guestbook" {
  about = "A front end, a master and replicas behind services, on three nodes"
}

switch "lan" {
  subnet = "192.168.205.0/24"
}

host "browser" {
  on "lan" { address = "192.168.205.100" }
}

node "node" {
  count = 3
  on "lan" { address = cidrhost("192.168.205.0/24", 11 + count.index) }
  pod "frontend" {
    labels = { app = "guestbook", tier = "frontend" }
    serve  = ["tcp/80"]
  }
  dynamic "pod" {
    for_each = [count.index == 0 ? "master" : "replica"]
    labels   = ["redis-${pod.value}"]
    content {
      labels = { app = "redis", role = pod.value, tier = "backend" }
      serve  = ["tcp/6379"]
    }
  }
}

network "pods" {
  cidr = "10.42.0.0/16"
  mode = "vxlan"
}

service "frontend" {
  type     = "NodePort"
  selector = { app = "guestbook", tier = "frontend" }
  port "http" {
    port      = 80
    node_port = 30080
  }
}

service "redis-master" {
  selector = { app = "redis", role = "master" }
  port "redis" { port = 6379 }
}

service "redis-replica" {
  selector = { app = "redis", role = "replica" }
  port "redis" { port = 6379 }
}
