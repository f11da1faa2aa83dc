package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
	"labnet/testbed"
	"labnet/testbed/agent/supervise"
)

// allowFlag adds --allow-commands.
func (ch *choice) allowFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&ch.allow, "allow-commands", false, "run the programs of a definition that is not yours without being asked")
}

// mayRun checks that the programs of a definition can be started, and that the user wants them to be.
func (c *command) mayRun(s *source, p *plan.Plan, allowed bool) error {
	var diags hcl.Diagnostics
	var lines []string
	plugins, err := testbed.Plugins(p.State)
	if err != nil {
		return status{refused, err}
	}
	p.Cluster.Lab.Each(func(target string, p *lab.Process) {
		lines = append(lines, fmt.Sprintf("  %s:%s  %s", target, p.Name, strings.Join(p.Command, " ")))
		if attribute, err := supervise.Sound(p); err != nil {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "Program cannot be started", Subject: p.At.Of(attribute, p.Range).Ptr(),
				Detail: fmt.Sprintf("%s of %s: %v.", p.Name, target, err),
			})
		}
	})
	if len(diags) > 0 {
		_, files, _ := s.load()
		return c.judge(files, lab.Limit(diags))
	}
	return c.consent(s, append(pluginLines(plugins), lines...), allowed)
}

// mayAttach does so for the plugins alone, of several plans of a definition.
func (c *command) mayAttach(s *source, plans []*plan.Plan, allowed bool) error {
	var all []string
	for _, p := range plans {
		plugins, err := testbed.Plugins(p.State)
		if err != nil {
			return status{refused, err}
		}
		all = append(all, plugins...)
	}
	slices.Sort(all)
	return c.consent(s, pluginLines(slices.Compact(all)), allowed)
}

func pluginLines(files []string) (lines []string) {
	for _, file := range files {
		lines = append(lines, "  CNI plugin of the nodes  "+file)
	}
	return lines
}

// consent asks for what a definition runs, where it is not the user's own.
func (c *command) consent(s *source, lines []string, allowed bool) error {
	if len(lines) == 0 || allowed || s.own() {
		return nil
	}
	const most = 20
	if len(lines) > most {
		lines = append(lines[:most:most], fmt.Sprintf("  … and %d more", len(lines)-most))
	}
	c.say("%s is not yours, and runs programs as you:\n%s", s.name, strings.Join(lines, "\n"))
	in, ok := c.in.(*os.File)
	if !ok || s.name == "<stdin>" || !term.IsTerminal(int(in.Fd())) {
		return refuse("nothing was built; --allow-commands runs them")
	}
	fmt.Fprint(c.err, "Run them? [y/N] ")
	text, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(text), "y") {
		return refuse("nothing was built")
	}
	return nil
}

// own reports whether a definition ships with the program, or all its files belong to who calls; what comes by standard input is
// nobody's.
func (s *source) own() bool {
	for _, f := range s.files {
		info, err := os.Stat(f.Name)
		if errors.Is(err, os.ErrNotExist) {
			if _, ships := labs.Read(strings.TrimSuffix(f.Name, ".hcl")); ships && s.inputs.Dir == "" {
				continue
			}
			return false
		}
		if err != nil {
			return false
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || int(stat.Uid) != os.Geteuid() && strconv.Itoa(int(stat.Uid)) != os.Getenv("SUDO_UID") {
			return false
		}
	}
	return true
}

// inContainer runs a command beside a program of a machine or pod, with what that has.
func (c *command) inContainer(labName, target, name string, command []string) error {
	machine, pod, isPod := strings.Cut(target, "/")
	agentName := strings.Join([]string{plan.SupervisorAgent, name}, ":")
	if isPod {
		agentName = strings.Join([]string{plan.SupervisorAgent, pod, name}, ":")
	}
	place, err := testbed.OpenTarget(labName, machine)
	if err != nil {
		return err
	}
	defer place.Close()
	found, err := testbed.Agents(place)
	if err != nil {
		return err
	}
	var known []string
	for _, a := range found {
		kind, rest, _ := strings.Cut(a.Name, ":")
		if kind != plan.SupervisorAgent {
			continue
		}
		if in, one, ok := strings.Cut(rest, ":"); ok == isPod && (!ok || in == pod) {
			if !ok {
				one = rest
			}
			known = append(known, one)
		}
		if a.Name != agentName {
			continue
		}
		pid, err := a.Program(place)
		if err != nil {
			return err
		}
		if pid == 0 {
			return status{failed, fmt.Errorf("%s of %s does not run; \"lab logs %[2]s:%[1]s\" may say why", name, target)}
		}
		return c.join(pid, command)
	}
	return refuse("%s of lab %s has no container or process %q.%s", target, labName, name, lab.Suggest(name, known, "It has"))
}
