package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestScale builds large labs with few open files and little memory, whatever their size. LAB_SOAK=1 builds those for which
// that was promised: they take minutes, and gigabytes of the kernel's memory.
func TestScale(t *testing.T) {
	needRoot(t)
	type size struct {
		mode               string
		nodes, pods, files int
		memory             int64 // MiB
	}
	sizes := []size{{"vxlan", 20, 2, 128, 150}, {"host-gw", 60, 3, 128, 150}}
	if os.Getenv("LAB_SOAK") != "" {
		sizes = []size{{"host-gw", 300, 10, 4096, 400}, {"vxlan", 300, 10, 4096, 400}, {"ipip", 300, 10, 4096, 400}, {"vxlan", 1000, 10, 20000, 2048}}
	}
	const name = "faults-scale"
	for _, z := range sizes {
		t.Run(fmt.Sprintf("%d×%d %s", z.nodes, z.pods, z.mode), func(t *testing.T) {
			t.Cleanup(func() { labRun(t, "down", name) })
			limit := "ulimit -n " + strconv.Itoa(z.files) + "; exec \"$@\""
			up := exec.Command("sh", "-c", limit, "sh", os.Args[0], "up", "scale", "--name", name, "--mode", z.mode,
				"--var", "nodes="+strconv.Itoa(z.nodes), "--var", "pods="+strconv.Itoa(z.pods))
			up.Env = append(os.Environ(), asLab+"=1")
			var said strings.Builder
			up.Stderr = &said
			start := time.Now()
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			ended, most, memory := make(chan error), 0, 0
			go func() { ended <- up.Wait() }()
			for running := true; running; {
				select {
				case err := <-ended:
					running = false
					if err != nil {
						t.Fatalf("%v\n%s", err, said.String())
					}
				case <-time.After(time.Millisecond):
					open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", up.Process.Pid))
					most, memory = max(most, len(open)), max(memory, highWater(up.Process.Pid))
				}
			}
			t.Logf("%v, %d files, %d MiB", time.Since(start).Round(time.Millisecond), most, memory)
			if most < 10 || most > 128 {
				t.Errorf("%d files were open at once", most)
			}
			if int64(memory) > z.memory {
				t.Errorf("it took %d MiB of memory", memory)
			}
		})
	}
}

// highWater is the most memory that a process has had, in MiB. What rusage says of a child includes what its parent had when it
// was started.
func highWater(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kilobytes := 0
	fmt.Sscanf(rest, "%d kB", &kilobytes)
	return kilobytes >> 10
}
