package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
)

const serving = `
lab "serving" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
switch "far" { subnet = "192.168.206.0/24" }
router "gw" {
  on "lan" { address = ["192.168.205.1", "fd00:205::1"] }
  on "far" { address = "192.168.206.1" }
  serve = ["tcp/80", "udp/53"]
}
host "laptop" {
  on "far" {}
  gateway = "192.168.206.1"
  serve   = ["tcp/80"]
}
node "a" {
  on "lan" {}
  gateway = "192.168.205.1"
  pods    = 2
  pod "p1" { serve = ["tcp/8080", "udp/5353"] }
}
node "b" {
  on "lan" {}
  gateway = "192.168.205.1"
  serve   = ["tcp/9000"]
  pods    = 1
  pod "p1" { serve = ["tcp/8080", "udp/5353"] }
}
network "pods" { cidr = ["10.42.0.0/16", "fd00:42::/48"] }
`

// get asks over HTTP from a namespace.
func get(t *testing.T, from *testbed.Place, url string) (*http.Response, string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, to string) (net.Conn, error) {
			return dial(t, from, network, to, patience)
		},
	}}
	response, err := client.Get(url)
	if err != nil {
		t.Fatalf("%s gets nothing of %s: %v", from.Name, url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s gets only %d bytes of %s: %v", from.Name, len(body), url, err)
	}
	return response, string(body)
}

// TestServe: what a machine or a pod serves answers there and nowhere else, in both families, names itself and its client, and
// from the address that was asked.
func TestServe(t *testing.T) {
	p := planned(t, parse(t, "serving.hcl", serving), "serving", "host-gw")
	up(t, p)
	ends := map[string][]plan.Endpoint{}
	for _, e := range p.Cluster.Everyone() {
		ends[e.Title] = append(ends[e.Title], e)
	}
	client := place(t, ends["a/p2"][0].Namespace)
	for title, port := range map[string]string{"a/p1": "8080", "b/p1": "8080", "b": "9000", "gw": "80", "laptop": "80"} {
		for _, e := range ends[title] {
			source := ""
			for _, own := range ends["a/p2"] {
				if own.Address.Is6() == e.Address.Is6() {
					source = own.Address.String()
				}
			}
			_, body := get(t, client, "http://"+net.JoinHostPort(e.Address.String(), port)+"/any")
			if want := title + " "; !strings.HasPrefix(body, want) || e.Pod != nil && body != want+source+"\n" {
				t.Errorf("%s at %s says %q to %s", title, e.Address, body, source) // packets out of the cluster are masqueraded
			}
		}
	}
	for _, e := range append(ends["gw"], ends["gw:eth1"]...) { // each of a router's addresses answers from itself
		port := net.JoinHostPort(e.Address.String(), "53")
		c, err := dial(t, client, "udp", port, patience)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := question(c); err != nil || !strings.HasPrefix(text, "gw ") {
			t.Errorf("udp %s: %q, %v", port, text, err)
		}
		c.Close()
	}
	web := "http://" + net.JoinHostPort(ends["b/p1"][0].Address.String(), "8080")
	if r, body := get(t, client, web+"/bytes?n=100000"); len(body) != 100000 || r.ContentLength != 100000 {
		t.Errorf("%d bytes, announced as %d", len(body), r.ContentLength)
	}
	start := time.Now()
	if _, body := get(t, client, web+"/slow?ms=300"); !strings.HasPrefix(body, "b/p1 ") || time.Since(start) < 300*time.Millisecond {
		t.Errorf("after %v: %q", time.Since(start), body)
	}
	for _, wrong := range []string{"/bytes?n=-1", "/bytes?n=99999999999", "/slow?ms=soon", "/slow?ms=60001"} {
		if r, _ := get(t, client, web+wrong); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s is answered with %s", wrong, r.Status)
		}
	}
	if _, err := dial(t, client, "tcp4", net.JoinHostPort(ends["b"][0].Address.String(), "8080"), patience); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the node answers where only its pod serves: %v", err)
	}
	respondersDoNotLoop(t, p, ends)
	servedAnew(t, p, client, web)
}

// respondersDoNotLoop: an answer that is sent to another responder ends there.
func respondersDoNotLoop(t *testing.T, p *plan.Plan, ends map[string][]plan.Endpoint) {
	t.Helper()
	var c net.Conn
	err := place(t, ends["a/p2"][0].Namespace).Do(func() (err error) {
		c, err = net.Dial("udp4", net.JoinHostPort(ends["a/p1"][0].Address.String(), "5353"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, text := range []string{"b/p1 10.42.0.3\n", "b/p1 fd00::1"} {
		_, _ = c.Write([]byte(text))
	}
	// What comes first is the answer to what was sent last.
	if text, err := question(c); err != nil || !strings.HasPrefix(text, "a/p1 ") {
		t.Fatal(text, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second / 5))
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes more: an answer was answered", n)
	}
}

// servedAnew: a responder that was killed is drift and comes back; a pod that is made anew is served once up returns.
func servedAnew(t *testing.T, p *plan.Plan, client *testbed.Place, web string) {
	t.Helper()
	machine := place(t, p.Cluster.NamespaceOf("b"))
	found, err := testbed.Agents(machine)
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if err := unix.Kill(found[0].PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if found, _ := testbed.Agents(machine); len(found) == 0 {
			break
		}
		if time.Now().After(until) {
			t.Fatal("the responder does not die")
		}
	}
	if changes := pending(t, p); len(changes) != 1 || changes[0].Object.Key().Kind != plan.KindAgent {
		t.Fatalf("a responder is gone, and up would make %v", changes)
	}
	up(t, p)
	get(t, client, web)

	sh(t, p, "ip netns del %s.b.p1")
	up(t, p)
	if _, body := get(t, client, web); !strings.HasPrefix(body, "b/p1 ") {
		t.Error(body)
	}
}

// TestPortTaken: where a port cannot be had nothing is built, and the message says whose it is and which.
func TestPortTaken(t *testing.T) {
	l := parse(t, "serving.hcl", strings.Replace(serving, `serve   = ["tcp/9000"]`, "", 1))
	p := planned(t, l, "taken", "host-gw")
	up(t, p)
	var listener net.Listener
	if err := place(t, p.Cluster.NamespaceOf("b")).Do(func() (err error) { listener, err = net.Listen("tcp", ":9000"); return err }); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	more := built(t, parse(t, "serving.hcl", serving), "taken", "host-gw")
	err := testbed.Apply(t.Context(), pending(t, more), func(plan.Change) {})
	if err == nil || !strings.Contains(fmt.Sprint(err), "b: listen tcp :9000: bind: address already in use") {
		t.Errorf("it says %v", err)
	}
}
