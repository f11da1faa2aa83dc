package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestServicesAreShown: status tells people and programs of the services of a lab, and their names resolve in its machines.
func TestServicesAreShown(t *testing.T) {
	needRoot(t)
	const name = "faults-services"
	must(t, "up", "services", "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	var doc struct {
		Labs []struct{ Services []serviceDocument }
	}
	if err := json.Unmarshal([]byte(must(t, "status", name, "-o", "json")), &doc); err != nil || len(doc.Labs) != 1 {
		t.Fatal(err, doc)
	}
	all := doc.Labs[0].Services
	i := slices.IndexFunc(all, func(s serviceDocument) bool { return s.Name == "web" })
	if i < 0 || all[i].Type != "NodePort" || !slices.Equal(all[i].Addresses, []string{"10.43.6.58"}) || !slices.Equal(all[i].Ports, []string{"80:32506/tcp"}) ||
		!slices.Equal(all[i].Endpoints, []string{"10.42.0.65:8080", "10.42.1.9:8080"}) {
		t.Errorf("%+v", all)
	}
	text := must(t, "status", name)
	for _, want := range []string{"service web  NodePort  10.43.6.58  80:32506/tcp → 10.42.0.65:8080 10.42.1.9:8080", "no endpoints"} {
		if !strings.Contains(text, want) {
			t.Errorf("status does not say %q:\n%s", want, text)
		}
	}
	for _, as := range []string{"web", "web.svc"} {
		if out := must(t, "exec", "-l", name, "master/p1", "--", "getent", "hosts", as); !strings.HasPrefix(out, "10.43.6.58 ") {
			t.Errorf("%s is %q", as, out)
		}
	}
}
