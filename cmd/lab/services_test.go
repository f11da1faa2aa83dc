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

// TestTraceToService: a packet to a service is followed through its translation to whoever was chosen, and the answer back; what a
// rule decides by lot is not called unforeseen.
func TestTraceToService(t *testing.T) {
	needRoot(t)
	const name = "faults-servicetrace"
	must(t, "up", "services", "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	text := must(t, "trace", "-l", name, "master/p2", "web", "-v")
	flat := strings.Join(strings.Fields(text), " ")
	for _, want := range []string{"master/p2 → web (10.43.6.58): tcp to port 80", "destination 10.43.6.58 becomes 10.42.", "port 80 becomes 8080", "becomes 10.43.6.58", "source port 8080 becomes 80", "As predicted as far as master"} {
		if !strings.Contains(flat, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "refused by") {
		t.Errorf("it says that a translated packet is refused:\n%s", text)
	}
	if code, text, _ := labRun(t, "trace", "-l", name, "master/p2", "nobody"); code != answer || !strings.Contains(text, "ip kube-proxy") {
		t.Errorf("to a service without endpoints: exit status %d\n%s", code, text)
	}
	for _, backend := range []string{"tracepoint", "packet"} { // a program answers, which knows nothing of marks
		for _, from := range []string{"master/p2", "laptop"} { // and whose answer is translated back, the laptop's after masquerading
			text := must(t, "trace", "-l", name, from, "dns:dns", "-v", "--backend", backend)
			flat := strings.Join(strings.Fields(text), " ")
			for _, want := range []string{"udp to port 53, 60 bytes arrived", "the answer came back", "becomes 10.43.0.10"} {
				if !strings.Contains(flat, want) {
					t.Errorf("%s, from %s: it does not say %q:\n%s", backend, from, want, text)
				}
			}
		}
	}
	for _, wrong := range [][]string{{"master/p2", "web:https"}, {"web", "master/p2"}, {"master/p2", "wbe"}} {
		if code, _, stderr := labRun(t, append([]string{"trace", "-l", name}, wrong...)...); code != refused {
			t.Errorf("%v: exit status %d\n%s", wrong, code, stderr)
		}
	}
	if got := complete(t, "trace", "-l", name, "master/p2", "w"); !slices.Equal(got, []string{"worker", "worker/p1", "worker/p2", "web"}) {
		t.Errorf("it completes to %q", got)
	}
	if got := complete(t, "exec", "-l", name, "w"); !slices.Equal(got, []string{"worker", "worker/p1", "worker/p2"}) {
		t.Errorf("exec completes to %q", got)
	}
}
