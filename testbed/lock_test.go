package testbed_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"labnet/testbed"
)

func TestLock(t *testing.T) {
	probe(t)
	lab := prefix + "lock"
	t.Cleanup(func() { down(t, lab) })
	first, err := testbed.Acquire(t.Context(), lab, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testbed.Acquire(t.Context(), lab, false); !errors.Is(err, testbed.ErrBusy) {
		t.Errorf("a second holder gets: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := testbed.Acquire(ctx, lab, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who waits and is told to stop gets: %v", err)
	}
	got := make(chan error)
	go func() {
		second, err := testbed.Acquire(context.Background(), lab, true)
		if err == nil {
			err = second.Release()
		}
		got <- err
	}()
	first.Release()
	if err := <-got; err != nil {
		t.Errorf("who waited gets: %v", err)
	}
}

// TestLockDiesWithItsHolder: the kernel gives the lock of a killed process back.
func TestLockDiesWithItsHolder(t *testing.T) {
	probe(t)
	lab := prefix + "dead"
	t.Cleanup(func() { down(t, lab) })
	cmd, _ := dying(t, lab, "everything", 3)
	cmd.Wait()
	lock, err := testbed.Acquire(t.Context(), lab, false)
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
}

// TestLockAndDown: down removes the folder that the lock is in; still there is never more than one holder.
func TestLockAndDown(t *testing.T) {
	probe(t)
	lab := prefix + "race"
	t.Cleanup(func() { down(t, lab) })
	var inside atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 40 {
				if i == 0 {
					down(t, lab)
					continue
				}
				lock, err := testbed.Acquire(context.Background(), lab, true)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d holders", n)
				}
				time.Sleep(time.Millisecond)
				inside.Add(-1)
				lock.Release()
			}
		})
	}
	all.Wait()
}

func TestRecord(t *testing.T) {
	probe(t)
	lab := prefix + "record"
	t.Cleanup(func() { down(t, lab) })
	lock, err := testbed.Acquire(t.Context(), lab, false)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if err := lock.Save(testbed.Record{Instance: lab, Source: "lab {}", Mode: "vxlan"}); err != nil {
		t.Fatal(err)
	}
	r, err := testbed.Load(lab)
	if err != nil || r.Instance != lab || r.Source != "lab {}" || r.Mode != "vxlan" {
		t.Errorf("%+v, %v", r, err)
	}
	if err := os.WriteFile(filepath.Join("/run/lab", lab, "definition.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := testbed.Load(lab); err == nil {
		t.Error("a torn record was believed")
	}
	lock.Release()
	down(t, lab)
	if _, err := testbed.Load(lab); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a lab that is not there: %v", err)
	}
}

// TestEnter runs a program in a pod: there it has the lab's names and the pod's hostname, outside nothing is different.
func TestEnter(t *testing.T) {
	probe(t)
	lab := prefix + "enter"
	t.Cleanup(func() { down(t, lab) })
	up(t, lab, everything(lab))
	place, err := testbed.Open(lab + ".n1.p1")
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	enter := func(name string, args ...string) (string, error) {
		cmd, err := testbed.Command(place, testbed.Names{"n2": {netip.MustParseAddr("192.168.205.2"), netip.MustParseAddr("fd00::2")}, "p1.n2": {netip.MustParseAddr("10.42.2.2")}}, "n1-p1", name, args...)
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	hosts, _ := os.ReadFile("/etc/hosts")
	hostname, _ := os.Hostname()
	const files = "ls /proc/self/fd | wc -l" // none of lab's own stays open
	open := run(t, "", "sh", "-c", files)
	for _, tt := range []struct{ script, want string }{
		{"uname -n", "n1-p1\n"},
		{"getent ahosts p1.n2 | head -1 | tr -s ' '", "10.42.2.2 STREAM p1.n2\n"},
		{"getent ahostsv4 n2 | head -1 | tr -s ' '", "192.168.205.2 STREAM n2\n"},
		{"getent ahostsv6 n2 | head -1 | tr -s ' '", "fd00::2 STREAM n2\n"},
		{"grep -c localhost /etc/hosts >/dev/null && echo yes", "yes\n"},
		{"ls /sys/class/net", "eth0\nlo\n"},
		{"ls /proc/sys/net/ipv4/conf", "all\ndefault\neth0\nlo\n"},
		{files, open},
		{"echo written >>/etc/hosts; tail -1 /etc/hosts", "written\n"},
	} {
		if out, err := enter("sh", "-c", tt.script); out != tt.want {
			t.Errorf("%s: %q, %v", tt.script, out, err)
		}
	}
	var exit *exec.ExitError
	if _, err := enter("sh", "-c", "exit 7"); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("an exit status of 7 came as %v", err)
	}
	if out, err := enter("no-such-program"); !errors.As(err, &exit) || exit.ExitCode() != 127 {
		t.Errorf("a program that is not there: %v, %s", err, out)
	}
	if now, _ := os.ReadFile("/etc/hosts"); string(now) != string(hosts) {
		t.Error("the machine's own /etc/hosts was written")
	}
	if now, _ := os.Hostname(); now != hostname {
		t.Errorf("the machine is now called %s", now)
	}
}
