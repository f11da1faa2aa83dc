package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"labnet/lab/report"
)

// usage is how a verb is called here. None of the calls changes a lab.
type usage struct {
	args   []string
	root   bool
	silent bool // it has no data: what it says goes to stderr
	once   bool // -o makes no difference to it
}

// usages has every verb that there is, by its path; the lab of the test runs, of the definition file, and dir holds results.
func usages(name, file, dir string) map[string]usage {
	return map[string]usage{
		"lab":             {args: []string{}, once: true},
		"lab up":          {args: []string{file, "--name", name}, root: true, silent: true},
		"lab down":        {args: []string{"faults-never-there"}, root: true, silent: true},
		"lab plan":        {args: []string{file, "--name", name, "--shell"}},
		"lab status":      {args: []string{name}, root: true},
		"lab impair":      {args: []string{"-l", name, "n1", "none"}, root: true},
		"lab graph":       {args: []string{file}},
		"lab check":       {args: []string{name}, root: true},
		"lab trace":       {args: []string{"-l", name, "n1/p1", "n2/p1"}, root: true},
		"lab walk":        {args: []string{name}, root: true},
		"lab capture":     {args: []string{"-l", name, "n1", "-w", "-", "--for", "20ms"}, root: true, once: true},
		"lab exec":        {args: []string{"-l", name, "n1", "--", "true"}, root: true, silent: true, once: true},
		"lab logs":        {args: []string{"-l", name}, root: true, silent: true},
		"lab shell":       {args: []string{"-l", name, "n1"}, root: true, silent: true, once: true},
		"lab compare":     {args: []string{file, "--modes", "host-gw", "--measures", "tcp-rr", "--paths", "cross-node", "--wire", "bare", "--rounds", "1", "--window", "20ms", "--out", "OUT"}, root: true},
		"lab faults":      {args: []string{}},
		"lab drill":       {args: []string{}, once: true},
		"lab drill list":  {args: []string{}},
		"lab bench":       {args: []string{name, "--measures", "tcp-rr", "--paths", "cross-node", "--rounds", "1", "--window", "20ms", "--out", "OUT"}, root: true},
		"lab report":      {args: []string{dir}},
		"lab report diff": {args: []string{dir, dir}},
		"lab validate":    {args: []string{file}},
		"lab fmt":         {args: []string{"-"}, once: true},
		"lab modes":       {args: []string{}},
		"lab doctor":      {args: []string{}},
		"lab version":     {args: []string{}},
		"lab help":        {args: []string{"up"}, once: true},
		"lab extcap":      {args: []string{"--extcap-dlts"}, once: true},
		"lab agent":       {silent: true, once: true},
		"lab program":     {silent: true, once: true},
		"lab cni":         {silent: true, once: true},

		// These change a lab: see TestDrillLosesNothing.
		"lab break": {}, "lab drill start": {}, "lab drill status": {}, "lab drill hint": {}, "lab drill check": {}, "lab drill watch": {},
		"lab drill reveal": {}, "lab drill stop": {}, "lab drill report": {},

		"lab completion":            {args: []string{}, once: true},
		"lab completion bash":       {args: []string{}, once: true},
		"lab completion zsh":        {args: []string{}, once: true},
		"lab completion fish":       {args: []string{}, once: true},
		"lab completion powershell": {args: []string{}, once: true},
	}
}

// verbs calls f with every verb of the program, those of cobra's among them.
func verbs(f func(*cobra.Command)) {
	root := (&command{out: &output{Writer: io.Discard}, err: &output{Writer: io.Discard}}).root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		f(cmd)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// recording makes a folder of results.
func recording(t *testing.T) string {
	t.Helper()
	r, err := report.Read("../../lab/report/testdata")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "results")
	if err := r.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// placed are arguments with a folder that is empty where they say OUT.
func placed(t *testing.T, args []string) []string {
	args = slices.Clone(args)
	for i := range args {
		if args[i] == "OUT" {
			args[i] = t.TempDir()
		}
	}
	return args
}

// TestLostOutput: a verb whose data cannot be written has failed, whichever it is and in every format, and says so.
func TestLostOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	t.Setenv("SHELL", "/bin/true")
	const name = "faults-output"
	file := tinyFile(t)
	if os.Geteuid() == 0 {
		must(t, "up", file, "--name", name)
		t.Cleanup(func() { must(t, "down", name) })
	}
	known := usages(name, file, recording(t))
	try := func(t *testing.T, u usage, args []string) {
		t.Helper()
		call := func(out io.Writer) (int, string) {
			var stderr bytes.Buffer
			return run(placed(t, args), strings.NewReader(untidy), out, &stderr), stderr.String()
		}
		var out bytes.Buffer
		if code, stderr := call(&out); code != 0 {
			t.Fatalf("%s: exit status %d\n%s", args, code, stderr)
		}
		if u.silent != (out.Len() == 0) {
			t.Fatalf("%s: %d bytes of data", args, out.Len())
		}
		want := failed
		if u.silent {
			want = 0
		}
		code, stderr := call(full)
		if code != want || want != 0 && !strings.Contains(stderr, "no space left on device") {
			t.Errorf("%s: exit status %d, not %d\n%s", args, code, want, stderr)
		}
	}
	seen := 0
	verbs(func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		u, ok := known[path]
		if !ok {
			t.Errorf("%s is not tried here", path)
			return
		}
		seen++
		words := strings.Fields(path)[1:]
		t.Run(path, func(t *testing.T) {
			if u.args == nil {
				return // only scripts call it
			}
			try(t, usage{}, append(append([]string{}, words...), "--help"))
			if u.root {
				needRoot(t)
			}
			try(t, u, append(append([]string{}, words...), u.args...))
			if !u.once {
				u.silent = false // a document is always printed
				try(t, u, append(append(append([]string{}, words...), u.args...), "-o", "json"))
			}
		})
	})
	if seen != len(known) {
		t.Errorf("%d verbs are there, and %d are tried", seen, len(known))
	}
	for _, format := range graphFormats {
		t.Run("graph as "+format, func(t *testing.T) {
			try(t, usage{}, []string{"graph", file, "--format", format})
		})
	}
	for _, format := range report.Formats {
		t.Run("report as "+format, func(t *testing.T) {
			try(t, usage{}, append([]string{"report"}, append(known["lab report"].args, "--format", format)...))
		})
	}
}
