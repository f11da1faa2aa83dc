package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed"
)

func (c *command) exec() *cobra.Command {
	var labName string
	cmd := &cobra.Command{
		Use:   "exec TARGET -- CMD…",
		Short: "Run a command in a machine or a pod",
		Long: `Runs a command in the namespace of a machine (node1) or a pod (node1/p1). There the lab's names resolve and the
hostname is the machine's; nothing of that is written to /etc. The exit status is the command's.`,
		Example: `  sudo lab exec worker1 -- ip route
  sudo lab exec master/p1 -- ping -c1 p1.worker1
  sudo lab exec -l blue master -- bridge fdb show dev flannel.1`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(commandLine(args)) == 0 {
				return refuse("say where and what: lab exec worker1/p1 -- ip route")
			}
			return nil
		},
		ValidArgsFunction: c.completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			line := commandLine(args)
			return c.enter(cmd, labName, args[0], line[0], line[1:])
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVarP(&labName, "lab", "l", "", "the `lab`, where several are running")
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
		Use:   "shell TARGET",
		Short: "Open a shell in a machine or a pod",
		Long: `Opens a shell in the namespace of a machine (node1) or a pod (node1/p1). The prompt says where you are, the lab's
names resolve, and the hostname is the machine's.`,
		Example: "  sudo lab shell worker1/p1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return refuse("say where: lab shell worker1/p1")
			}
			return nil
		},
		ValidArgsFunction: c.completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			sh := os.Getenv("SHELL")
			if sh == "" {
				sh = "/bin/sh"
			}
			return c.enter(cmd, labName, args[0], sh, nil)
		},
	}
	cmd.Flags().StringVarP(&labName, "lab", "l", "", "the `lab`, where several are running")
	return cmd
}

// enter runs a command in a target and passes its exit status on.
func (c *command) enter(cmd *cobra.Command, labName, target, name string, args []string) error {
	if _, err := features(cmd.Name(), false); err != nil {
		return err
	}
	labName, err := c.instance(cmd, labName, choice{})
	if err != nil {
		return err
	}
	owner, known, err := find(cmd, labName, target)
	if err != nil {
		return err
	}
	if owner == nil {
		return refuse("lab %s has no %s.%s", labName, target, lab.Suggest(target, known, "It has"))
	}
	place, err := testbed.Open(labName + "." + strings.ReplaceAll(target, "/", "."))
	if err != nil {
		return err
	}
	defer place.Close()
	hosts, err := c.hosts(cmd, labName)
	if err != nil {
		return err
	}
	run, err := testbed.Command(place, hosts, strings.ReplaceAll(target, "/", "-"), name, args...)
	if err != nil {
		return err
	}
	run.Stdin, run.Stdout, run.Stderr = c.in, c.out.Writer, c.err.Writer
	run.Env = append(os.Environ(), "LAB="+labName, "LAB_TARGET="+target,
		fmt.Sprintf(`PROMPT_COMMAND=PS1="[%s %s] \w \\$ "`, labName, target), fmt.Sprintf("PS1=[%s %s] $ ", labName, target))
	c.handOver()
	if err := run.Start(); err != nil {
		return err
	}
	// A terminal sends its signals to the program too; those that are sent to lab alone are passed on.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	go func() {
		for s := range signals { // until lab ends
			_ = run.Process.Signal(s)
		}
	}()
	err = run.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return status{code: exit.ExitCode()}
	}
	return err
}

// find looks a target up among the machines of a running lab.
func find(cmd *cobra.Command, labName, target string) (found *plan.Owner, known []string, err error) {
	all, err := testbed.Instances(cmd.Context())
	if err != nil {
		return nil, nil, err
	}
	for _, i := range all {
		if i.Name != labName {
			continue
		}
		for _, m := range i.Machines {
			known = append(known, m.Machine)
			if m.Machine == target {
				found = &m
			}
		}
	}
	return found, known, nil
}

// hosts names every address of a lab: machines by name, pods as p1.node1.
func (c *command) hosts(cmd *cobra.Command, labName string) (map[string]string, error) {
	hosts := map[string]string{}
	actual, err := testbed.Read(cmd.Context(), labName, &plan.State{})
	if err != nil {
		return nil, err
	}
	for _, m := range machines(actual) {
		name := m.Name
		if node, pod, ok := strings.Cut(name, "/"); ok {
			name = pod + "." + node
		}
		for _, nic := range m.Interfaces {
			if _, named := hosts[name]; !named && nic.leadsOut(m.Kind) && len(nic.Addresses) > 0 {
				address, _, _ := strings.Cut(nic.Addresses[0], "/")
				hosts[name] = address
			}
		}
	}
	return hosts, nil
}

func (c *command) completeTarget(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	all, err := testbed.Instances(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var targets []string
	for _, i := range all {
		for _, m := range i.Machines {
			if m.Role != "switch" {
				targets = append(targets, m.Machine)
			}
		}
	}
	return targets, cobra.ShellCompDirectiveNoFileComp
}
