package testbed_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
)

// killArg makes the test program an "up" that kills itself after so many changes: LAB FROM|TO N.
const killArg = "__up_and_die"

// upAndDie does what "lab up" does. After n changes it dies as from "kill -9"; with n < 0 its parent does that.
func upAndDie(args []string) int {
	lab, want := args[0], targets[args[1]](args[0])
	n, _ := strconv.Atoi(args[2])
	ctx := context.Background()
	err := func() error {
		lock, err := testbed.Acquire(ctx, lab, true)
		if err != nil {
			return err
		}
		if err := lock.Save(testbed.Record{Instance: lab}); err != nil {
			return err
		}
		actual, err := testbed.Read(ctx, lab, want)
		if err != nil {
			return err
		}
		changes := plan.Diff(actual, want)
		fmt.Println(len(changes))
		return testbed.Apply(ctx, changes, func(plan.Change) {
			if n--; n == 0 {
				unix.Kill(os.Getpid(), unix.SIGKILL)
			}
		})
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// targets are states to go to: a lab, and the same lab changed in every way in which a mode differs from another.
var targets = map[string]func(lab string) *plan.State{"everything": everything, "changed": changed}

// changed is everything with the tunnels, and what stands on them, gone, routes replaced, and pods attached anew.
func changed(lab string) *plan.State {
	s := &plan.State{}
	for _, o := range everything(lab).Objects() {
		switch o := o.(type) {
		case plan.Link:
			if o.Name == "vx0" {
				continue
			}
			if o.Name == "veth0" {
				o.Port = plan.Port{}
			}
			o.MTU = 1400
			s.Add(o)
		case plan.FDB, plan.Table, plan.Set, plan.Chain, plan.Element, plan.ChainRule, plan.Qdisc, plan.Program:
		case plan.Address:
			if o.Link != "vx0" {
				s.Add(o)
			}
		case plan.Neighbour:
			if o.Link != "vx0" {
				s.Add(o)
			}
		case plan.Route:
			if o.Dev != "vx0" {
				s.Add(o)
			}
		default:
			s.Add(o)
		}
	}
	s.Resolve()
	return s
}

// dying starts an up that will be killed, and returns how many changes it has to make.
func dying(t *testing.T, lab, target string, n int) (*exec.Cmd, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], killArg, lab, target, strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	line, _ := bufio.NewReader(out).ReadString('\n')
	var total int
	if _, err := fmt.Sscan(line, &total); err != nil {
		t.Fatalf("the up that was to be killed says %q", line)
	}
	return cmd, total
}

// nothing makes sure that of a lab nothing is left.
func nothing(t *testing.T, lab string) {
	t.Helper()
	for _, pattern := range []string{filepath.Join(testbed.NetnsDir, lab+".*"), filepath.Join("/run/lab", lab)} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
	}
	all, err := testbed.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Name == lab {
			t.Fatalf("%s is still listed", lab)
		}
	}
}

// TestKilled kills a first up, and one that changes a running lab, after every single change. What is left is removed by
// a down or, every other time, completed by another up.
func TestKilled(t *testing.T) {
	probe(t)
	lab := prefix + "killed"
	t.Cleanup(func() { down(t, lab) })
	step := 1
	if testing.Short() {
		step = 7
	}
	for _, tt := range []struct{ from, to string }{{"", "everything"}, {"everything", "changed"}, {"changed", "everything"}} {
		t.Run(tt.from+"→"+tt.to, func(t *testing.T) {
			total := step + 1
			for n := 1; n < total; n += step {
				if tt.from != "" {
					apply(t, lab, targets[tt.from](lab))
				}
				cmd, changes := dying(t, lab, tt.to, n)
				total = changes
				if err := cmd.Wait(); !killed(err) {
					t.Fatalf("the up was to be killed after %d of %d changes: %v", n, changes, err)
				}
				recovers(t, lab, targets[tt.to](lab), n%2 == 0)
			}
		})
	}
}

// TestKilledAtAnyTime kills an up at random moments, also in the middle of a change.
func TestKilledAtAnyTime(t *testing.T) {
	probe(t)
	lab := prefix + "random"
	t.Cleanup(func() { down(t, lab) })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 40 {
		cmd, _ := dying(t, lab, "everything", -1)
		time.Sleep(time.Duration(random.Int64N(int64(60 * time.Millisecond))))
		cmd.Process.Kill()
		cmd.Wait()
		recovers(t, lab, everything(lab), i%2 == 0)
	}
}

func recovers(t *testing.T, lab string, want *plan.State, complete bool) {
	t.Helper()
	if complete {
		up(t, lab, want)
	}
	down(t, lab)
	nothing(t, lab)
}

func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}
