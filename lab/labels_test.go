package lab_test

import (
	"maps"
	"testing"

	"labnet/lab"
)

const labelled = `
lab "l" {}
switch "s" { subnet = "192.168.205.0/24" }
node "a" {
  on "s" {}
  pods       = 2
  pod_labels = { app = "web", tier = "back" }
  pod "p2" { labels = { app = "db" } }
  pod "own" { labels = { "app.kubernetes.io/name" = "own" } }
}
network "pods" { cidr = "10.42.0.0/16" }
service "web" {
  selector = { app = "web", node = "a" }
  port "http" { port = 80 }
}
service "back" {
  selector = { tier = "back" }
  port "http" { port = 80 }
}
service "one" {
  selector = { pod = "own" }
  port "http" { port = 80 }
}
`

// TestLabels: a node's labels go to its numbered pods, a pod's own come over them, and every pod has its names. A selector
// selects the pods that have all of its labels.
func TestLabels(t *testing.T) {
	l, _, diags := lab.Load("l.hcl", []byte(labelled), lab.Inputs{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := map[string]map[string]string{
		"p1":  {"node": "a", "pod": "p1", "app": "web", "tier": "back"},
		"p2":  {"node": "a", "pod": "p2", "app": "db", "tier": "back"},
		"own": {"node": "a", "pod": "own", "app.kubernetes.io/name": "own"},
	}
	for _, p := range l.Machines[0].Pods {
		if !maps.Equal(p.Labels, want[p.Name]) {
			t.Errorf("%s has %v, want %v", p.Name, p.Labels, want[p.Name])
		}
	}
	for i, want := range [][]string{{"p1"}, {"p1", "p2"}, {"own"}} {
		s := l.Services.All[i]
		var pods []string
		for _, b := range s.Endpoints {
			pods = append(pods, b.Pod)
		}
		if len(pods) != len(want) || pods[0] != want[0] || pods[len(pods)-1] != want[len(want)-1] {
			t.Errorf("%s selects %v, want %v", s.Name, pods, want)
		}
	}
}

// TestNothingSelected: a selector may be written before the pods that it selects; that is a warning.
func TestNothingSelected(t *testing.T) {
	src := labelled + "service \"none\" {\n  selector = { app = \"no\" }\n  port \"http\" { port = 80 }\n}\n"
	l, _, diags := lab.Load("l.hcl", []byte(src), lab.Inputs{})
	if l == nil || len(diags) != 1 || diags[0].Summary != "No pod selected" || diags[0].Subject == nil {
		t.Error(diags)
	}
}
