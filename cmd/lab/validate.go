package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes"
)

func (c *command) validate() *cobra.Command {
	var ch choice
	cmd := &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Report every error of a definition",
		Long: `Reports the errors of a definition, each with its place, in every mode that it mentions: the network's, those of
compare, and the settings of other mode blocks. It needs no root and touches nothing.`,
		Example: `  lab validate lab.hcl
  lab validate lab.hcl -o json           # for editors`,
		Args:              atMost(1),
		ValidArgsFunction: completeDefinition,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.find(first(args), ch)
			if err != nil {
				return err
			}
			l, files, diags := s.load()
			var p *plan.Plan
			if !diags.HasErrors() {
				var more hcl.Diagnostics
				p, more = plan.Validate(cmd.Context(), l, plan.Options{Mode: ch.mode, Modes: modes.All, Features: plan.AllFeatures()})
				diags = lab.Limit(append(diags, more...))
			}
			if err := cmd.Context().Err(); err != nil {
				return fmt.Errorf("interrupted")
			}
			if c.json() {
				if err := c.document(diagnosticsDocument(diags)); err != nil {
					return err
				}
				if diags.HasErrors() {
					return status{code: refused}
				}
				return nil
			}
			if err := c.judge(files, diags); err != nil {
				return err
			}
			pods := 0
			for _, n := range p.Cluster.Nodes {
				pods += len(n.AllPods())
			}
			fmt.Fprintln(c.out, hang(fmt.Sprintf("%s is valid: lab %s%s; switches %d, machines %d, pods %d.", s.name, l.Name, inMode(p), len(l.Switches), len(l.Machines), pods), width(c.out), 0))
			return nil
		},
	}
	ch.inputFlags(cmd)
	cmd.Flags().StringVar(&ch.mode, "mode", "", "check for this `mode`")
	ch.modeCompletion(cmd)
	return cmd
}

func diagnosticsDocument(diags hcl.Diagnostics) any {
	type diagnostic struct {
		Severity string `json:"severity"`
		Summary  string `json:"summary"`
		Detail   string `json:"detail"`
		File     string `json:"file"`
		Line     int    `json:"line"`
		Column   int    `json:"column"`
	}
	list := make([]diagnostic, 0, len(diags))
	for _, d := range diags {
		e := diagnostic{Severity: "error", Summary: d.Summary, Detail: d.Detail}
		if d.Severity == hcl.DiagWarning {
			e.Severity = "warning"
		}
		if d.Subject != nil {
			e.File, e.Line, e.Column = d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column
		}
		list = append(list, e)
	}
	return map[string]any{"schema": schema, "ok": !diags.HasErrors(), "diagnostics": list}
}

func (c *command) fmt() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "fmt [FILE|FOLDER…]",
		Short: "Rewrite definitions in the usual form",
		Long: `Rewrites definitions in the usual form and prints the names of those it changed. "-" formats standard input to standard output.
Of a folder it takes all *.hcl.`,
		Example: `  lab fmt                                # all *.hcl of this folder
  lab fmt --check lab.hcl                # exit with 3 when it is not formatted`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"hcl"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				var err error
				if args, err = filepath.Glob("*.hcl"); err != nil {
					return err
				}
			}
			var files []string
			for _, name := range args {
				if !isFolder(name) {
					files = append(files, name)
					continue
				}
				sources, err := lab.ReadFolder(name)
				if err != nil {
					return status{refused, err}
				}
				if len(sources) == 0 {
					return refuse("%s: this folder has no *.hcl file", name)
				}
				for _, s := range sources {
					files = append(files, s.Name)
				}
			}
			changed := false
			for _, name := range files {
				different, err := c.format1(name, check)
				if err != nil {
					return err
				}
				changed = changed || different
			}
			if check && changed {
				return status{code: answer}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; exit with 3 when a file is not in the usual form")
	return cmd
}

func (c *command) format1(name string, check bool) (changed bool, err error) {
	var was []byte
	if name == "-" {
		was, err = lab.Read(c.in)
	} else {
		was, err = lab.ReadFile(name)
	}
	if err != nil {
		return false, status{refused, err}
	}
	now, diags := lab.Format(name, was)
	if diags.HasErrors() {
		_, files, _ := lab.Load(name, was, lab.Inputs{})
		return false, c.judge(files, diags)
	}
	changed = !bytes.Equal(was, now)
	switch {
	case name == "-" && !check:
		_, err = c.out.Write(now)
	case changed:
		fmt.Fprintln(c.out, name)
		if !check {
			err = replace(name, now)
		}
	}
	return changed, err
}

func (c *command) modes() *cobra.Command {
	return &cobra.Command{
		Use:     "modes",
		Short:   "List the modes, the ways of connecting pods",
		Example: "  lab modes",
		Args:    atMost(0),
		RunE: func(*cobra.Command, []string) error {
			if c.json() {
				type mode struct {
					Mode  string `json:"mode"`
					About string `json:"about"`
				}
				var list []mode
				for _, m := range modes.All {
					list = append(list, mode{m.Name, m.Mode.About()})
				}
				return c.document(map[string]any{"schema": schema, "modes": list})
			}
			var rows []row
			for _, m := range modes.All {
				rows = append(rows, row{cells: []string{m.Name, m.Mode.About()}})
			}
			_, err := fmt.Fprint(c.out, columns(rows, width(c.out)))
			return err
		},
	}
}

// release is set by the Makefile: the newest heading of the changelog.
var release = "devel"

// version is the release that the program was built from, and the commit where the build knows it.
func version() string {
	v := release
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			v += " " + s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			v += "+changes"
		}
	}
	return v
}

func (c *command) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the program's version",
		Example: "  lab version",
		Args:    atMost(0),
		RunE: func(*cobra.Command, []string) error {
			if c.json() {
				return c.document(map[string]any{"schema": schema, "version": version(), "go": runtime.Version()})
			}
			_, err := fmt.Fprintln(c.out, "lab", version(), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
			return err
		},
	}
}
