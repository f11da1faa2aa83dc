package lab_test

import (
	"fmt"
	"strings"
	"testing"

	"labnet/lab"
)

// TestServicesAreAllocated: what is given stays, what is left out is the first that is free, and no two are the same.
func TestServicesAreAllocated(t *testing.T) {
	var src strings.Builder
	src.WriteString("lab \"l\" {}\nswitch \"s\" { subnet = \"192.168.205.0/24\" }\nnode \"n\" {\n  on \"s\" {}\n}\nnetwork \"pods\" { cidr = \"10.42.0.0/16\" }\nservices { cidr = \"10.96.0.0/28\" }\n")
	for i := range 14 {
		given := ""
		if i == 3 {
			given = "  address = \"10.96.0.1\"\n"
		}
		fmt.Fprintf(&src, "service \"s%d\" {\n  type = \"NodePort\"\n%s  port \"a\" { port = 80 }\n  port \"b\" {\n    port = 80\n    protocol = \"udp\"\n  }\n}\n", i, given)
	}
	l, _, diags := lab.Load("l.hcl", []byte(src.String()), lab.Inputs{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	seen := map[string]bool{}
	for i, s := range l.Services.All {
		keys := []string{s.Address.String()}
		for _, p := range s.Ports {
			keys = append(keys, fmt.Sprint(p.Protocol, p.NodePort))
			if want := 30000 + i; p.NodePort != want || p.Target != 80 {
				t.Errorf("%s has node port %d for %d, want %d for 80", s.Name, p.NodePort, p.Target, want)
			}
		}
		for _, k := range keys {
			if seen[k] {
				t.Errorf("%s is given twice", k)
			}
			seen[k] = true
		}
	}
	if a, b := l.Services.All[0].Address.String(), l.Services.All[3].Address.String(); a != "10.96.0.2" || b != "10.96.0.1" {
		t.Errorf("the first has %s, the one that asks for 10.96.0.1 has %s", a, b)
	}
	src.WriteString("service \"more\" {\n  port \"a\" { port = 80 }\n}\n")
	if _, _, diags := lab.Load("l.hcl", []byte(src.String()), lab.Inputs{}); len(diags) != 1 || diags[0].Summary != "No address left" {
		t.Errorf("one more than there are addresses: %v", diags)
	}
}

// TestBalancersAreAllocated: addresses of load balancers are the highest that nobody has where the nodes are, and node ports are
// of the range that is given.
func TestBalancersAreAllocated(t *testing.T) {
	src := `lab "l" {}
switch "s" { subnet = "192.168.205.0/29" }
node "n" {
  on "s" {}
}
host "h" {
  on "s" { address = "192.168.205.6" }
}
network "pods" { cidr = "10.42.0.0/16" }
services { node_ports = "31000-31003" }
service "given" {
  type             = "LoadBalancer"
  external_address = "192.168.205.4"
  port "a" { port = 80 }
}
service "first" {
  type = "LoadBalancer"
  port "a" { port = 80 }
}
service "second" {
  type = "LoadBalancer"
  port "a" {
    port      = 80
    node_port = 31000
  }
}
`
	l, _, diags := lab.Load("l.hcl", []byte(src), lab.Inputs{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	for i, want := range []string{"192.168.205.4 31001", "192.168.205.5 31002", "192.168.205.3 31000"} {
		if s := l.Services.All[i]; fmt.Sprint(s.External, " ", s.Ports[0].NodePort) != want {
			t.Errorf("%s has %s and node port %d, want %s", s.Name, s.External, s.Ports[0].NodePort, want)
		}
	}
	src += "service \"third\" {\n  type = \"LoadBalancer\"\n  port \"a\" { port = 80 }\n}\n"
	for _, summary := range []string{"", "No address left"} {
		l, _, diags := lab.Load("l.hcl", []byte(src), lab.Inputs{})
		switch {
		case summary == "" && (len(diags) > 0 || l.Services.All[3].External.String() != "192.168.205.1"):
			t.Errorf("the last address there is: %v", diags)
		case summary != "" && (len(diags) != 2 || diags[0].Summary != summary || diags[1].Summary != "No node port left"):
			t.Errorf("one more than there are addresses and node ports: %v", diags)
		}
		src += "service \"fourth\" {\n  type = \"LoadBalancer\"\n  port \"a\" { port = 80 }\n}\n"
	}
}

// TestServicesAreRepeated: what differs from one to the next may be anywhere in the block, also in blocks inside it.
func TestServicesAreRepeated(t *testing.T) {
	l := load(t, `
switch "s" { subnet = "192.168.205.0/24" }
node "n" {
  count = 2
  on "s" {}
  pod "web" {}
}
network "pods" { cidr = "10.42.0.0/16" }
services { cidr = "10.96.0.0/24" }
service "of" {
  count    = 2
  selector = { node = "n${count.index + 1}" }
  port "http" { port = 80 + count.index }
}
service "for" {
  for_each = { a = 81, b = 82 }
  selector = { node = "n${each.key == "a" ? 1 : 2}" }
  port "http" {
    port   = 80
    target = each.value
  }
}
`, lab.Inputs{})
	var got []string
	for _, s := range l.Services.All {
		got = append(got, fmt.Sprintf("%s %s %d→%d", s.Name, s.Selector["node"], s.Ports[0].Port, s.Ports[0].Target))
	}
	if want := "[of1 n1 80→80 of2 n2 81→81 for-a n1 80→81 for-b n2 80→82]"; fmt.Sprint(got) != want {
		t.Errorf("there are %v, want %s", got, want)
	}
}
