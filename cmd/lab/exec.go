package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/agent/supervise"
	"labnet/testbed/holder"
)

func (c *command) exec() *cobra.Command {
	var labName string
	cmd := &cobra.Command{
		Use:   "exec TARGET[:NAME] -- CMD…",
		Short: "Run a command in a machine or a pod",
		Long: `Runs a command in the namespace of a machine (node1) or a pod (node1/p1). There the lab's names resolve and the
hostname is the machine's; nothing of that is written to /etc. The exit status is the command's. With :NAME it runs where that
container of a pod, or process of a machine, is: with its files, processes and user.

Without root and without TARGET the command runs beside your labs, where "ip -n LAB.MACHINE" finds them.`,
		Example: `  lab exec worker1 -- ip route
  lab exec master/p1 -- ping -c1 p1.worker1
  lab exec worker1/p1:app -- ps ax
  lab exec -l blue master -- bridge fdb show dev flannel.1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || cmd.ArgsLenAtDash() != 0 && len(commandLine(args)) == 0 {
				return refuse("say where and what: lab exec worker1/p1 -- ip route")
			}
			return nil
		},
		ValidArgsFunction: completeTarget(&labName),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() == 0 {
				return beside("lab exec worker1/p1 -- ip route", args)
			}
			line := commandLine(args)
			return c.enter(cmd, labName, args[0], line[0], line[1:])
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVarP(&labName, "lab", "l", "", "the `lab`, where several are running")
	completeFlag(cmd, "lab", runningLabs)
	return cmd
}

// commandLine is what comes after the target; flags that follow the target are the command's, with or without "--".
func commandLine(args []string) []string {
	if len(args) > 1 && args[1] == "--" {
		return args[2:]
	}
	return args[min(len(args), 1):]
}

func (c *command) shell() *cobra.Command {
	var labName string
	cmd := &cobra.Command{
		Use:   "shell [TARGET]",
		Short: "Open a shell in a machine or a pod",
		Long: `Opens a shell in the namespace of a machine (node1) or a pod (node1/p1). The prompt says where you are, the lab's
names resolve, and the hostname is the machine's.

Without root and without TARGET it opens beside your labs, where the commands that lab prints work unchanged.`,
		Example: `  lab shell worker1/p1
  lab shell                # without root: then "ip -n three-node.worker1 route"`,
		Args:              atMost(1),
		ValidArgsFunction: completeTarget(&labName),
		RunE: func(cmd *cobra.Command, args []string) error {
			sh := os.Getenv("SHELL")
			if sh == "" {
				sh = "/bin/sh"
			}
			if len(args) == 0 {
				return beside("lab shell worker1/p1", []string{sh})
			}
			return c.enter(cmd, labName, args[0], sh, nil)
		},
	}
	cmd.Flags().StringVarP(&labName, "lab", "l", "", "the `lab`, where several are running")
	completeFlag(cmd, "lab", runningLabs)
	return cmd
}

// beside becomes a program where the labs of a user who is not root have their names.
func beside(example string, line []string) error {
	if !holder.Inside() {
		return refuse("say where: %s", example)
	}
	path, err := exec.LookPath(line[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	holder.Tie()
	return fmt.Errorf("%s: %w", path, unix.Exec(path, line, append(os.Environ(), `PROMPT_COMMAND=PS1="[labs] \w \\$ "`, "PS1=[labs] $ ")))
}

// sayWhereToType says where the commands of a text work as they stand, if that is not here.
func (c *command) sayWhereToType() {
	if holder.Inside() && !c.json() {
		c.say(`These commands work in "lab shell".`)
	}
}

// enter runs a command in a target and passes its exit status on. What it costs does not depend on the size of the lab.
func (c *command) enter(cmd *cobra.Command, labName, target, name string, args []string) error {
	if err := demandRoot(cmd.Name()); err != nil {
		return err
	}
	only, ok := testbed.Only()
	if ok && labName == "" {
		labName = only
	}
	record, err := testbed.Load(labName)
	if err != nil {
		if labName, err = c.instance(cmd, labName, choice{}); err != nil {
			return err
		}
		if record, err = testbed.Load(labName); err != nil {
			c.say("The lab's names do not resolve: %s.", unrecorded(err))
			record = &testbed.Record{}
		}
	}
	if record.Names == nil && record.Source != "" { // written by a version that kept no names
		p, err := c.running(labName, plan.AllFeatures())
		if err != nil {
			return err
		}
		record.Names, record.Nearby = p.Cluster.Names(), p.Cluster.Nearby()
	}
	target, container, contained := strings.Cut(target, ":")
	place, err := testbed.OpenTarget(labName, target)
	if errors.Is(err, os.ErrNotExist) {
		return c.unknownTarget(cmd, labName, target)
	}
	if err != nil {
		return err
	}
	defer place.Close()
	if contained {
		return c.inContainer(labName, target, container, append([]string{name}, args...))
	}
	hostname := strings.ReplaceAll(target, "/", "-")
	prompt := labName + " " + target
	if d, err := drillOf(labName); err == nil {
		prompt += " drill:" + d.Title()
	}
	env := append(os.Environ(), "LAB="+labName, "LAB_TARGET="+target,
		fmt.Sprintf(`PROMPT_COMMAND=PS1="[%s] \w \\$ "`, prompt), fmt.Sprintf("PS1=[%s] $ ", prompt))
	if c.in == os.Stdin && c.out.Writer == os.Stdout && c.err.Writer == os.Stderr {
		runtime.LockOSThread()
		holder.Tie()
		code, err := testbed.Become(place, record.NamesIn(place.Name), hostname, env, name, args...)
		return status{code, err}
	}
	run, err := testbed.Command(place, record.NamesIn(place.Name), hostname, name, args...)
	if err != nil {
		return err
	}
	run.Stdin, run.Stdout, run.Stderr, run.Env = c.in, c.out.Writer, c.err.Writer, env
	return exited(run.Run())
}

// exited passes the exit status of a command on.
func exited(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return status{code: exit.ExitCode()}
	}
	return err
}

// join runs a command where the program of a container is.
func (c *command) join(pid int, command []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{supervise.JoinArg, strconv.Itoa(pid)}, command...)
	if c.in == os.Stdin && c.out.Writer == os.Stdout && c.err.Writer == os.Stderr {
		runtime.LockOSThread()
		holder.Tie()
		return fmt.Errorf("%s: %w", self, unix.Exec(self, append([]string{self}, args...), os.Environ()))
	}
	run := exec.Command(self, args...)
	run.Stdin, run.Stdout, run.Stderr = c.in, c.out.Writer, c.err.Writer
	return exited(run.Run())
}

// unknownTarget says which targets there are.
func (c *command) unknownTarget(cmd *cobra.Command, labName, target string) error {
	all, err := testbed.Instances(cmd.Context())
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.Name != labName {
			continue
		}
		var known []string
		for _, m := range i.Machines {
			known = append(known, m.Machine)
		}
		return refuse("lab %s has no %s.%s", labName, target, lab.Suggest(target, known, "It has"))
	}
	return refuse("lab %s is not running; \"lab up\" builds it", labName)
}
