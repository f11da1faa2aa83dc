package testbed_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"labnet/lab/plan"
	"labnet/testbed"
)

// TestForeignNamespace finds a namespace of the wanted name that is not the lab's: it says so before anything is built,
// and neither up nor down touches it.
func TestForeignNamespace(t *testing.T) {
	probe(t)
	for name, alias := range map[string]string{"no owner": "", "another lab's": plan.Owner{Lab: "other", Machine: "n1", Role: "node"}.String()} {
		t.Run(name, func(t *testing.T) {
			lab := prefix + "foreign"
			ns := lab + ".n1"
			run(t, "", "ip", "netns", "add", ns)
			t.Cleanup(func() { run(t, "", "ip", "netns", "del", ns) })
			if alias != "" {
				run(t, "", "ip", "-n", ns, "link", "set", "lo", "alias", alias)
			}
			_, err := testbed.Read(t.Context(), lab, everything(lab))
			if err == nil || !strings.Contains(err.Error(), ns) || !strings.Contains(err.Error(), "--name") {
				t.Errorf("up says: %v", err)
			}
			down(t, lab)
			run(t, "", "ip", "-n", ns, "link", "show", "lo")
			if left, _ := filepath.Glob(filepath.Join(testbed.NetnsDir, lab+".*")); len(left) != 1 {
				t.Errorf("there is now %v", left)
			}
		})
	}
}

// TestForeignFile finds a file where the name of a namespace should be. An empty one is what a killed up leaves; any other is
// somebody's.
func TestForeignFile(t *testing.T) {
	probe(t)
	lab := prefix + "file"
	t.Cleanup(func() { down(t, lab) })
	path := filepath.Join(testbed.NetnsDir, lab+".n1")
	t.Cleanup(func() { os.Remove(path) })
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	up(t, lab, everything(lab))
	down(t, lab)
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := testbed.Apply(t.Context(), pending(t, lab, everything(lab)), func(plan.Change) {}); err == nil {
		t.Error("a namespace was bound over a file that is somebody's")
	}
	down(t, lab)
	if text, err := os.ReadFile(path); string(text) != "mine" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}

// TestTwoAtOnce builds, changes and removes two labs at the same time.
func TestTwoAtOnce(t *testing.T) {
	probe(t)
	var both sync.WaitGroup
	for _, lab := range []string{prefix + "left", prefix + "right"} {
		t.Cleanup(func() { down(t, lab) })
		both.Go(func() {
			for range 5 {
				for _, target := range []string{"everything", "changed"} {
					want := targets[target](lab)
					actual, err := testbed.Read(context.Background(), lab, want)
					if err == nil {
						err = testbed.Apply(context.Background(), plan.Diff(actual, want), func(plan.Change) {})
					}
					if err == nil {
						actual, err = testbed.Read(context.Background(), lab, want)
					}
					if err != nil {
						t.Error(err)
						return
					}
					if left := lines(plan.Diff(actual, want)); left != "" {
						t.Errorf("a second up of %s would do\n%s", lab, left)
					}
				}
				down(t, lab)
			}
		})
	}
	both.Wait()
}

const homeArg = "home"

// TestHome: a process whose threads are in other places all the time does not take its own for gone, and sees when it is.
func TestHome(t *testing.T) {
	probe(t)
	for _, ns := range []string{prefix + "home.a", prefix + "home.b"} {
		run(t, "", "ip", "netns", "add", ns)
		t.Cleanup(func() { run(t, "", "ip", "netns", "del", ns) })
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run(t, "", "ip", "netns", "exec", prefix+"home.a", self, homeArg, prefix+"home.a", prefix+"home.b")
}

// stayHome is the process of TestHome.
func stayHome(name, other string) int {
	home, err := testbed.Home(name)
	if err != nil {
		return 1
	}
	away, err := testbed.Open(other)
	if err != nil {
		return 1
	}
	var wander sync.WaitGroup
	for range 8 {
		wander.Go(func() {
			for range 50 {
				_ = away.Do(func() error { time.Sleep(time.Millisecond); return nil })
			}
		})
	}
	gone := make(chan struct{})
	go func() { wander.Wait(); close(gone) }()
	for {
		if !home.Leads() {
			fmt.Println("its place counts as gone")
			return 1
		}
		select {
		case <-gone:
			if home.Name = other; home.Leads() {
				fmt.Println("it takes another place for its own")
				return 1
			}
			return 0
		case <-time.After(100 * time.Microsecond):
		}
	}
}

// TestCancelled stops an up between two changes.
func TestCancelled(t *testing.T) {
	probe(t)
	lab := prefix + "cancelled"
	t.Cleanup(func() { down(t, lab) })
	ctx, cancel := context.WithCancel(t.Context())
	made := 0
	err := testbed.Apply(ctx, pending(t, lab, everything(lab)), func(plan.Change) {
		if made++; made == 20 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || made != 20 {
		t.Errorf("after %d changes: %v", made, err)
	}
	up(t, lab, everything(lab))
}

// TestNoLeaks: namespaces that are left open or threads that cannot go home would add up over a long comparison.
func TestNoLeaks(t *testing.T) {
	probe(t)
	lab := prefix + "leaks"
	t.Cleanup(func() { down(t, lab) })
	round := func() {
		up(t, lab, everything(lab))
		up(t, lab, changed(lab))
		if _, err := testbed.Instances(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := testbed.Probe(false); err != nil {
			t.Fatal(err)
		}
		down(t, lab)
	}
	count := func() (files, threads int) {
		f, _ := os.ReadDir("/proc/self/fd")
		n, _ := os.ReadDir("/proc/self/task")
		return len(f), len(n)
	}
	round()
	files, threads := count()
	for range 10 {
		round()
	}
	f, n := count()
	for range 100 { // threads take a moment to end
		if f <= files && n <= threads+4 {
			return
		}
		time.Sleep(50 * time.Millisecond)
		f, n = count()
	}
	t.Errorf("%d files and %d threads became %d and %d", files, threads, f, n)
}

// TestInstances lists labs by what their namespaces say, and what a killed up left of one that has none.
func TestInstances(t *testing.T) {
	probe(t)
	one, two := prefix+"listed", prefix+"leftover"
	t.Cleanup(func() { down(t, one); down(t, two) })
	up(t, one, everything(one))
	lock, err := testbed.Acquire(t.Context(), two, false)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	all, err := testbed.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, i := range all {
		found[i.Name] = len(i.Machines) + 1
	}
	if found[one] != 6 || found[two] != 1 {
		t.Errorf("listed with machines (+1): %v", found)
	}
}
