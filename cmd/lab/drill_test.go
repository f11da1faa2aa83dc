package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"labnet/faults"
)

// TestDrillLosesNothing: what a verb of a drill has to say and cannot write is an error.
func TestDrillLosesNothing(t *testing.T) {
	needRoot(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	const name = "faults-lost"
	must(t, "up", tinyFile(t), "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	for _, args := range [][]string{
		{"break", "pod-mtu-low", "-l", name, "-o", "json"}, {"drill", "start", "pod-mtu-low", "-l", name, "--mend"},
		{"drill", "status", "-l", name}, {"drill", "hint", "-l", name}, {"drill", "reveal", "-l", name}, {"drill", "stop", "-l", name, "-o", "json"},
	} {
		var stderr bytes.Buffer
		if code := run(args, strings.NewReader(""), full, &stderr); code != failed || !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("%s: exit status %d\n%s", args, code, stderr.String())
		}
	}
}

// TestDrillWatch follows a drill by its keys: a hint, the fault made anew after a cure, and the cure again.
func TestDrillWatch(t *testing.T) {
	needRoot(t)
	const name = "faults-watch"
	must(t, "up", tinyFile(t), "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	must(t, "drill", "start", "pod-mtu-low", "-l", name, "--seed", "1")
	d, err := drillOf(name)
	if err != nil {
		t.Fatal(err)
	}
	keys := make(chan byte)
	read, write := io.Pipe()
	c := &command{out: &output{Writer: write, closed: func() {}}, err: &output{Writer: io.Discard, closed: func() {}}}
	done := make(chan error)
	go func() {
		done <- c.watches(context.Background(), name, d, keys)
		write.Close()
	}()
	screens := make(chan string)
	go func() {
		text := make([]byte, 64<<10)
		for {
			n, err := read.Read(text)
			if err != nil {
				close(screens)
				return
			}
			screens <- string(text[:n])
		}
	}()
	until := func(want string) {
		t.Helper()
		for screen := range screens {
			if strings.Contains(screen, want) {
				return
			}
		}
		t.Fatalf("%q is never shown", want)
	}
	press := func(key byte) {
		for {
			select {
			case keys <- key:
				return
			case <-screens:
			}
		}
	}
	until("Not solved yet. Red: mtu")
	press('h')
	until("Hint 1 of 3: Look at")
	p, strikes, err := c.planned(name, d)
	if err != nil {
		t.Fatal(err)
	}
	cure := []string{"ip", "-n", p.Cluster.NamespaceOf(strings.ReplaceAll(strikes[0].Machine, "/", ".")), "link", "set", "eth0", "mtu", "1500"}
	press('r')
	until("Red: mtu")
	if _, err := exec.Command(cure[0], cure[1:]...).CombinedOutput(); err != nil {
		t.Fatal(err)
	}
	until("Solved: pod-mtu-low")
	press('q')
	if err := <-done; err != nil {
		t.Error(err)
	}
	if drilled(name) {
		t.Error("the drill is still on")
	}
}

// TestFaultsAreTold: whatever a fault tells is filled in, and gives its name away nowhere before the end.
func TestFaultsAreTold(t *testing.T) {
	known := regexp.MustCompile(`\{(machine|other|device)\}`)
	seen := map[string]bool{}
	for _, f := range faults.All {
		if seen[f.Name] {
			t.Errorf("%s is listed twice", f.Name)
		}
		seen[f.Name] = true
		for _, text := range []string{f.Story, f.Layer, f.Explanation, f.About, f.Teach} {
			if rest := known.ReplaceAllString(text, ""); text == "" || strings.ContainsAny(rest, "{}") {
				t.Errorf("%s: %q", f.Name, text)
			}
		}
		for _, text := range []string{f.Story, f.Layer} {
			if strings.Contains(text, f.Name) || strings.Contains(text, f.About) {
				t.Errorf("%s gives its answer away: %q", f.Name, text)
			}
		}
		if f.Level < 1 || f.Level > 3 || len(f.Modes) == 0 || f.Red == "" {
			t.Errorf("%s is incomplete: %+v", f.Name, f)
		}
	}
	if len(faults.All) < 26 {
		t.Errorf("there are %d faults", len(faults.All))
	}
}
