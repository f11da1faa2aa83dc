package lab_test

import (
	"strings"
	"testing"
	"time"

	"labnet/lab"
	"labnet/lab/hostile"
)

// TestManyEndpoints: thousands of services that select among thousands of pods take no time, and those that select all of them
// are refused before they fill the memory.
func TestManyEndpoints(t *testing.T) {
	const src = `
lab "l" {}
switch "s" { subnet = "10.0.0.0/16" }
node "n" {
  count = 9
  on "s" {}
  pods       = 1000
  pod_labels = { app = "web" }
}
network "pods" { cidr = "10.128.0.0/12" }
services { cidr = "10.96.0.0/12" }
service "a" {
  count    = 10000
  selector = { app = "web", node = "n1", pod = "p7" }
  port "http" { port = 80 }
}
`
	start := hostile.Worked()
	l, _, diags := lab.Load("l.hcl", []byte(src), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	for _, s := range l.Services.All {
		if len(s.Endpoints) != 1 || s.Endpoints[0] != (lab.Backend{Node: "n1", Pod: "p7"}) {
			t.Fatalf("%s has %v", s.Name, s.Endpoints)
		}
	}
	l, _, diags = lab.Load("l.hcl", []byte(strings.Replace(src, `, node = "n1", pod = "p7"`, "", 1)), lab.Inputs{})
	if l != nil || len(diags) != 1 || diags[0].Summary != "Lab too large" || diags[0].Subject == nil {
		t.Errorf("all services select all pods: %v", diags)
	}
	if d := hostile.Worked() - start; d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
}
