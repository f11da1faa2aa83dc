package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/testbed"
)

type logDocument struct {
	Target string   `json:"target"`
	Name   string   `json:"name"`
	File   string   `json:"file"`
	Lines  []string `json:"lines"`
}

func (c *command) logs() *cobra.Command {
	var labName string
	var follow bool
	var tail int
	cmd := &cobra.Command{
		Use:   "logs [TARGET[:NAME]]",
		Short: "Show what agents and responders have logged",
		Long: `Shows the logs of a machine (node1) or of a pod (node1/p1): of its BGP speaker or udp proxy, and of what it serves. With
:NAME it shows one of them alone, without TARGET all of the lab. Where there are several each line says whose it is.

A log begins anew when it has a megabyte; the one before is kept and shown too.`,
		Example: `  lab logs worker1
  lab logs worker1/p1 -f                 # every request as it comes
  lab logs worker1:bgp -n 20`,
		Args:              atMost(1),
		ValidArgsFunction: completeLogs(&labName),
		RunE: func(cmd *cobra.Command, args []string) error {
			if tail < 0 {
				return refuse("-n takes a number of lines, not %d", tail)
			}
			if err := demandRoot("logs"); err != nil {
				return err
			}
			name, err := c.instance(cmd, labName, choice{})
			if err != nil {
				return err
			}
			target, only, _ := strings.Cut(first(args), ":")
			if err := c.hasLogs(cmd, name, target, only); err != nil {
				return err
			}
			find := func() ([]testbed.Log, error) { return chosenLogs(name, target, only) }
			if follow {
				return c.followLogs(cmd.Context(), find, tail, cmd.Flags().Changed("tail"))
			}
			return c.printLogs(find, tail)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what is logged, until Ctrl-C")
	cmd.Flags().IntVarP(&tail, "tail", "n", 0, "show only the last so many `lines` of each log (default all)")
	cmd.Flags().StringVarP(&labName, "lab", "l", "", "the `lab`, where several are running")
	completeFlag(cmd, "lab", runningLabs)
	return cmd
}

// hasLogs refuses a target that is not there, or has no log of that name.
func (c *command) hasLogs(cmd *cobra.Command, labName, target, only string) error {
	if target == "" {
		return nil
	}
	place, err := testbed.OpenTarget(labName, target)
	if errors.Is(err, os.ErrNotExist) {
		return c.unknownTarget(cmd, labName, target)
	}
	if err != nil {
		return err
	}
	place.Close()
	all, err := chosenLogs(labName, target, "")
	if err != nil || only == "" || slices.ContainsFunc(all, func(l testbed.Log) bool { return l.Name == only }) {
		return err
	}
	if len(all) == 0 {
		return refuse("%s of lab %s has no log %q; nothing there has logged anything", target, labName, only)
	}
	var names []string
	for _, l := range all {
		names = append(names, l.Name)
	}
	return refuse("%s of lab %s has no log %q.%s", target, labName, only, lab.Suggest(only, names, "It has"))
}

// chosenLogs lists the logs of a target, or all.
func chosenLogs(labName, target, only string) ([]testbed.Log, error) {
	all, err := testbed.Logs(labName)
	return slices.DeleteFunc(all, func(l testbed.Log) bool {
		return target != "" && l.Target != target || only != "" && l.Name != only
	}), err
}

func (c *command) printLogs(find func() ([]testbed.Log, error), tail int) error {
	logs, err := find()
	if err != nil {
		return err
	}
	docs := []logDocument{}
	for _, l := range logs {
		before, err := os.ReadFile(l.Path + ".1")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		text, err := os.ReadFile(l.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		docs = append(docs, logDocument{l.Target, l.Name, l.Path, last(append(before, text...), tail)})
	}
	if c.json() {
		return c.document(map[string]any{"schema": schema, "logs": docs})
	}
	for _, d := range docs {
		for _, line := range d.Lines {
			fmt.Fprintln(c.out, whose(d.Target, d.Name, len(docs) > 1)+line)
		}
	}
	if len(docs) == 0 {
		c.say("Nothing has been logged.")
	}
	return nil
}

// whose begins a line of one of several logs.
func whose(target, name string, several bool) string {
	if !several {
		return ""
	}
	return target + ":" + name + " | "
}

// last are the last n lines of a text; 0: all.
func last(text []byte, n int) []string {
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(text) == 0 {
		return []string{}
	}
	if n > 0 && len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return lines
}

// followed is a log that is read as it grows.
type followed struct {
	testbed.Log
	file *os.File
	rest []byte // of a line that is not whole yet
}

// followLogs shows what is logged until ctx is done; logs that come later are followed as well.
func (c *command) followLogs(ctx context.Context, find func() ([]testbed.Log, error), tail int, tailed bool) error {
	known := map[string]*followed{}
	defer func() {
		for _, f := range known {
			f.close()
		}
	}()
	for begun := false; ; begun = true {
		logs, err := find()
		if err != nil {
			return err
		}
		for _, l := range logs {
			f := known[l.Path]
			if f == nil {
				f = &followed{Log: l}
				known[l.Path] = f
			}
			lines, err := f.more()
			if err != nil {
				return err
			}
			if !begun && tailed && len(lines) > tail {
				lines = lines[len(lines)-tail:]
			}
			for _, line := range lines {
				if err := c.logged(f.Log, line, len(known) > 1); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// logged prints one line; as JSON it is an object of its own.
func (c *command) logged(l testbed.Log, line string, several bool) error {
	if c.json() {
		return json.NewEncoder(c.out).Encode(map[string]string{"target": l.Target, "name": l.Name, "line": line})
	}
	_, err := fmt.Fprintln(c.out, whose(l.Target, l.Name, several)+line)
	return err
}

// more returns the lines that have been added. Where the log has begun anew it reads the old one to its end first.
func (f *followed) more() (lines []string, err error) {
	for {
		if f.file == nil {
			if f.file, err = os.Open(f.Path); errors.Is(err, fs.ErrNotExist) {
				return lines, nil
			} else if err != nil {
				return lines, err
			}
		}
		here, err := f.file.Stat()
		if err != nil {
			return lines, err
		}
		there, gone := os.Stat(f.Path)
		text, err := io.ReadAll(f.file)
		if err != nil {
			return lines, err
		}
		f.rest = append(f.rest, text...)
		for {
			line, rest, whole := bytes.Cut(f.rest, []byte("\n"))
			if !whole {
				break
			}
			lines, f.rest = append(lines, string(line)), rest
		}
		if gone != nil || os.SameFile(here, there) {
			return lines, nil
		}
		f.close()
	}
}

func (f *followed) close() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}

// completeLogs offers the targets that have logs, each also with their names.
func completeLogs(labName *string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var words []string
		for _, name := range testbed.Recorded() {
			if *labName != "" && *labName != name {
				continue
			}
			all, err := testbed.Logs(name)
			if err != nil {
				continue
			}
			for _, l := range all {
				words = append(words, l.Target, l.Target+":"+l.Name)
			}
		}
		slices.Sort(words)
		return slices.Compact(words), cobra.ShellCompDirectiveNoFileComp
	}
}
