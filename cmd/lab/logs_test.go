package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"labnet/testbed"
)

const logged = `
lab "faults-logged" {}
switch "lan" { subnet = "192.0.2.0/24" }
node "n" {
  on "lan" {}
  serve = ["tcp/80"]
  pod "p1" { serve = ["tcp/8080"] }
}
host "h" {
  on "lan" {}
}
network "pods" { cidr = "10.9.0.0/16" }
`

// TestLogs: what a pod is asked is in its log and not in its node's; -f shows it as it comes, with what was logged before as
// far as -n says.
func TestLogs(t *testing.T) {
	needRoot(t)
	const name = "faults-logged"
	file := filepath.Join(t.TempDir(), "logged.hcl")
	if err := os.WriteFile(file, []byte(logged), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "up", file)
	t.Cleanup(func() { must(t, "down", name) })
	ask := func(from, url string) {
		t.Helper()
		place, err := testbed.Open(name + "." + from)
		if err != nil {
			t.Fatal(err)
		}
		defer place.Close()
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, to string) (c net.Conn, err error) {
			return c, place.Do(func() (err error) { c, err = net.Dial(network, to); return err })
		}}}
		answer, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	for _, path := range []string{"one", "two"} {
		ask("h", "http://192.0.2.2:80/"+path)
	}
	var doc struct {
		Logs []logDocument
	}
	decode := func(args ...string) []logDocument {
		t.Helper()
		if err := json.Unmarshal([]byte(must(t, append(args, "-l", name, "-o", "json")...)), &doc); err != nil {
			t.Fatal(err)
		}
		return doc.Logs
	}
	lines := decode("logs", "n", "-n", "2")[0].Lines
	if len(lines) != 2 || !strings.HasSuffix(lines[0], "GET /one") || !strings.HasSuffix(lines[1], "GET /two") {
		t.Errorf("the last two lines are %q", lines)
	}
	if all := decode("logs", "n/p1"); len(all) != 0 {
		t.Errorf("nobody has asked the pod, and it has logged %v", all)
	}

	ask("n.p1", "http://10.9.0.2:8080/pod")
	if all := decode("logs"); len(all) != 2 || all[0].Target != "n" || all[1].Target != "n/p1" || all[1].Name != "serve" {
		t.Errorf("the lab has the logs %v", all)
	}
	if text := must(t, "logs", "n/p1", "-l", name); !strings.HasSuffix(text, " n/p1 tcp/8080 10.9.0.2 GET /pod\n") {
		t.Error(text)
	}
	follows(t, name, func() { ask("h", "http://192.0.2.2:80/later") })
	for _, wrong := range [][]string{{"logs", "m", "-l", name}, {"logs", "n:bgp", "-l", name}, {"logs", "h:bgp", "-l", name}, {"logs", "n", "-n", "-1", "-l", name}} {
		if code, _, _ := labRun(t, wrong...); code != refused {
			t.Errorf("%v: exit status %d", wrong, code)
		}
	}
}

// follows starts lab logs -f, and ends it by SIGINT once it has shown what comes.
func follows(t *testing.T, name string, then func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "logs", "n", "-l", name, "-f", "-n", "1")
	cmd.Env = append(os.Environ(), asLab+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil || !strings.HasSuffix(first, "GET /two\n") {
		t.Errorf("it begins with %q, %v", first, err)
	}
	then()
	next, err := lines.ReadString('\n')
	if err != nil || !strings.HasSuffix(next, "GET /later\n") {
		t.Errorf("then comes %q, %v", next, err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// TestLogBegunAnew: a reader that follows a log misses no line where the log begins anew.
func TestLogBegunAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n.x.log")
	write := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	f := &followed{}
	f.Path = path
	defer f.close()
	var got []string
	more := func() {
		t.Helper()
		lines, err := f.more()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, lines...)
	}
	more() // there is none yet
	write("1\n2\nthr")
	more()
	write("ee\n4\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	more()
	write("5\n")
	more()
	if want := []string{"1", "2", "three", "4", "5"}; !slices.Equal(got, want) {
		t.Errorf("it read %q, want %q", got, want)
	}
}
