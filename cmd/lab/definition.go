package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
	"labnet/modes"
	"labnet/testbed"
)

// source is the text of a definition, and what it takes to read it.
type source struct {
	name   string // of the file or folder
	files  []lab.Source
	inputs lab.Inputs
}

func (s *source) load() (*lab.Lab, lab.Files, hcl.Diagnostics) {
	return lab.LoadFiles(s.files, s.inputs)
}

// choice is what a person says about a definition on the command line.
type choice struct {
	mode     string
	proxy    string
	instance string
	allow    bool
	vars     []string
	varFiles []string
	impair   plan.Impairments // of a running lab's links
}

// flags adds --var and --var-file.
func (ch *choice) inputFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&ch.vars, "var", nil, "set a variable: `k=v`; may be repeated")
	cmd.Flags().StringArrayVar(&ch.varFiles, "var-file", nil, "set variables from a `file` of k = v lines; may be repeated")
	_ = cmd.MarkFlagFilename("var-file", "hcl", "vars")
}

// allFlags adds also --mode, --proxy and --name.
func (ch *choice) allFlags(cmd *cobra.Command) {
	ch.inputFlags(cmd)
	cmd.Flags().StringVar(&ch.mode, "mode", "", "connect the pods in this `mode`, whatever the file says")
	cmd.Flags().StringVar(&ch.instance, "name", "", "call this instance of the lab `name`")
	ch.modeCompletion(cmd)
	ch.proxyFlag(cmd)
	completeFlag(cmd, "name", runningLabs)
}

// proxyFlag adds --proxy.
func (ch *choice) proxyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&ch.proxy, "proxy", "", "translate services with this `proxy`: "+lab.Enumerate(lab.Proxies, "or"))
	completeFlag(cmd, "proxy", func(*cobra.Command) []string { return lab.Proxies })
}

// find finds the definition that arg means.
func (c *command) find(arg string, ch choice) (*source, error) {
	s := &source{inputs: lab.Inputs{Vars: map[string]string{}, VarFiles: ch.varFiles, Environ: os.Environ()}}
	for _, v := range ch.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return nil, refuse("--var %s: write it as name=value", v)
		}
		s.inputs.Vars[name] = value
	}
	var err error
	switch {
	case arg == "-":
		err = s.read("<stdin>", func(string) ([]byte, error) { return lab.Read(c.in) })
	case arg == "":
		var here []string
		if here, err = filepath.Glob("*.hcl"); err == nil {
			switch len(here) {
			case 1:
				s.inputs.Dir = "."
				err = s.read(here[0], lab.ReadFile)
			case 0:
				return nil, refuse("no FILE was given, and this folder has no *.hcl file; give one, or the name of a shipped lab: %s", strings.Join(labs.Names(), ", "))
			default:
				return nil, refuse("no FILE was given, and this folder has several: %s; give one of them, or . for all of them as one lab", strings.Join(here, ", "))
			}
		}
	case isFolder(arg):
		s.name, s.inputs.Dir = arg, arg
		s.files, err = lab.ReadFolder(arg)
		if err == nil && len(s.files) == 0 && !s.shipped(arg) {
			return nil, refuse("%s: this folder has no *.hcl file", arg)
		}
	default:
		s.inputs.Dir = filepath.Dir(arg)
		err = s.read(arg, lab.ReadFile)
		if errors.Is(err, os.ErrNotExist) && !strings.ContainsRune(arg, os.PathSeparator) {
			if !s.shipped(arg) {
				return nil, refuse("%s: there is no such file, and no lab of that name ships with the program.%s", arg, lab.Suggest(arg, labs.Names(), "There are"))
			}
			err = nil
		}
	}
	if err != nil {
		return nil, status{refused, fmt.Errorf("reading the definition: %w", err)}
	}
	return s, nil
}

// read takes one file for the definition.
func (s *source) read(name string, from func(string) ([]byte, error)) error {
	text, err := from(name)
	s.name, s.files = name, []lab.Source{{Name: name, Text: text}}
	return err
}

// shipped takes a lab that comes with the program for the definition, if there is one of that name.
func (s *source) shipped(name string) bool {
	text, ok := labs.Read(name)
	if ok {
		s.name, s.files, s.inputs.Dir = name+".hcl", []lab.Source{{Name: name + ".hcl", Text: text}}, ""
	}
	return ok
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// isDefinition reports whether a path is a file, or a folder with *.hcl files.
func isDefinition(path string) bool {
	if isFolder(path) {
		files, err := lab.ReadFolder(path)
		return err != nil || len(files) > 0
	}
	_, err := os.Stat(path)
	return err == nil
}

// load reads a definition and prints what is wrong with it.
func (c *command) load(s *source) (*lab.Lab, lab.Files, error) {
	l, files, diags := s.load()
	return l, files, c.judge(files, diags)
}

// judge prints diagnostics; errors among them end the verb.
func (c *command) judge(files lab.Files, diags hcl.Diagnostics) error {
	if len(diags) > 0 {
		if err := files.Print(c.err, diags, uint(width(c.err)), colour(c.err)); err != nil {
			return err
		}
	}
	if diags.HasErrors() {
		return status{code: refused}
	}
	return nil
}

// build loads a definition and plans it for a kernel with these features.
func (c *command) build(s *source, ch choice, f plan.Features) (*plan.Plan, error) {
	l, files, err := c.load(s)
	if err != nil {
		return nil, err
	}
	return c.plans(l, files, ch, f)
}

// plans plans a lab for a kernel with these features.
func (c *command) plans(l *lab.Lab, files lab.Files, ch choice, f plan.Features) (*plan.Plan, error) {
	if ch.instance != "" && !lab.ValidName(ch.instance) {
		return nil, refuse("--name %s: a name has lower-case letters, digits and hyphens, begins and ends with a letter or digit, and has at most 63 characters", ch.instance)
	}
	p, diags := plan.Build(l, plan.Options{Instance: ch.instance, Mode: ch.mode, Proxy: ch.proxy, Impair: ch.impair, Modes: modes.All, Features: f})
	if err := c.judge(files, diags); err != nil {
		return nil, err
	}
	return p, testbed.Recall(p)
}

// impaired adds what "lab impair" has done to the links of the instance that is meant, if it runs.
func (ch *choice) impaired(l *lab.Lab) {
	if r, err := testbed.Load(cmp.Or(ch.instance, l.Name)); err == nil {
		ch.impair = r.Impair
	}
}

// record is what a running instance keeps of the definition it was made from.
func (s *source) record(p *plan.Plan) testbed.Record {
	return testbed.Record{Instance: p.Cluster.Name, File: s.name, Source: string(lab.Join(s.files)), Vars: p.Cluster.Lab.Vars, Values: p.Cluster.Lab.Values, Texts: p.Cluster.Lab.Texts, Mode: p.ModeName, Proxy: p.Proxy, Impair: p.Cluster.Impaired(), Names: p.Cluster.Names(), Nearby: p.Cluster.Nearby(), Shared: p.Cluster.Shared(), Tool: version()}
}

// running plans a running instance again, from what it was made from.
func (c *command) running(name string, f plan.Features) (*plan.Plan, error) {
	r, err := testbed.Load(name)
	if err != nil {
		return nil, fmt.Errorf("the definition of lab %s, kept below /run/lab: %w; %s", name, err, writesAgain)
	}
	return c.build(recorded(r), choice{mode: r.Mode, proxy: r.Proxy, instance: name, impair: r.Impair}, f)
}

// recorded is the definition that a lab was made from, with the values that it had then.
func recorded(r *testbed.Record) *source {
	s := &source{name: r.File, files: []lab.Source{{Name: r.File, Text: []byte(r.Source)}}, inputs: lab.Inputs{Values: r.Values, Texts: r.Texts}}
	if r.Values == "" { // written by a version that kept only what would be typed
		s.inputs.Vars = r.Vars
	}
	return s
}

// instance finds the running lab that arg means: its name, or a definition whose lab runs. Where both could be meant an
// existing file wins. Without arg it is the only one that runs.
func (c *command) instance(cmd *cobra.Command, arg string, ch choice) (string, error) {
	// A lab with a record need not be looked for among all namespaces of the machine.
	if only, ok := testbed.Only(); ok && arg == "" {
		return only, nil
	}
	if arg != "-" && ch.instance == "" && !isDefinition(arg) && slices.Contains(testbed.Recorded(), arg) {
		return arg, nil
	}
	all, err := testbed.Instances(cmd.Context())
	if err != nil {
		return "", err
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	if arg == "" {
		switch len(names) {
		case 0:
			return "", refuse("no lab is running; \"lab up FILE\" builds one")
		case 1:
			return names[0], nil
		}
		return "", refuse("several labs are running; say which: %s", strings.Join(names, ", "))
	}
	name := ch.instance
	if arg != "-" && name == "" && slices.Contains(names, arg) && !isDefinition(arg) {
		name = arg
	}
	if name == "" {
		s, err := c.find(arg, ch)
		if err != nil {
			return "", err
		}
		l, _, err := c.load(s)
		if err != nil {
			return "", err
		}
		name = l.Name
	}
	if !slices.Contains(names, name) {
		return "", refuse("lab %s is not running; \"lab up\" builds it%s", name, list("; running are ", names))
	}
	return name, nil
}

func list(prefix string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return prefix + strings.Join(names, ", ")
}

func demandRoot(verb string) error {
	if os.Geteuid() != 0 {
		return status{failed, fmt.Errorf("%s needs root, or your own namespaces: see \"lab doctor\"", verb)}
	}
	return nil
}

// features asks the kernel; it needs root.
func features(verb string, load bool) (plan.Features, error) {
	if err := demandRoot(verb); err != nil {
		return nil, err
	}
	return testbed.Probe(load)
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
