package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPin: all threads of a process are confined, and get back what they had.
func TestPin(t *testing.T) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !before.IsSet(cpu) {
		cpu++
	}
	other := exec.Command(os.Args[0], "-test.run", "^TestSleeps$")
	other.Env = append(os.Environ(), "LAB_TEST_SLEEPS=1")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = other.Wait() }()
	if _, err := out.Read(make([]byte, 1)); err != nil { // its threads are there
		t.Fatal(err)
	}
	a := RunningAgent{Name: "any", PID: other.Process.Pid}
	count := func(wrong func(*unix.CPUSet) bool) (n int) {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", a.PID))
		if err != nil || len(threads) < 2 {
			t.Fatalf("%d threads, %v", len(threads), err)
		}
		for _, thread := range threads {
			var id int
			var may unix.CPUSet
			if _, err := fmt.Sscan(thread.Name(), &id); err != nil {
				t.Fatal(err)
			}
			if err := unix.SchedGetaffinity(id, &may); err == nil && wrong(&may) {
				n++
			}
		}
		return n
	}
	release, err := a.Pin(cpu)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(func(may *unix.CPUSet) bool { return may.Count() != 1 || !may.IsSet(cpu) }); n > 0 {
		t.Errorf("%d threads may run elsewhere", n)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if n := count(func(may *unix.CPUSet) bool { return *may != before }); n > 0 {
		t.Errorf("%d threads have not got back their CPUs", n)
	}
}

// TestSleeps is the process that TestPin confines.
func TestSleeps(t *testing.T) {
	if os.Getenv("LAB_TEST_SLEEPS") == "" {
		t.Skip("this is for TestPin")
	}
	_, _ = os.Stdout.Write([]byte{'.'})
	_, _ = os.Stdin.Read(make([]byte, 1))
}
