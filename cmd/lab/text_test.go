package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// TestColumns: whatever the cells are, no line is longer than the width unless a single word is, and every word is shown.
func TestColumns(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	word := func(most int) string { return strings.Repeat("x", 1+random.IntN(most)) }
	for i := range 3000 {
		width := 80 + random.IntN(60)
		var rows []row
		words := 0
		longest := 1 + random.IntN(60)
		n := 1 + random.IntN(5)
		for range 1 + random.IntN(6) {
			r := row{below: strings.Repeat(" ", random.IntN(6))}
			for range n {
				r.cells = append(r.cells, word(longest))
				words++
			}
			for range random.IntN(12) {
				r.cells[n-1] += " " + word(43)
				words++
			}
			rows = append(rows, r)
		}
		text := columns(rows, width)
		if got := len(strings.Fields(text)); got != words {
			t.Fatalf("%d: %d words of %d:\n%s", i, got, words, text)
		}
		for line := range strings.Lines(text) {
			if line = strings.TrimSuffix(line, "\n"); utf8.RuneCountInString(line) > width || strings.HasSuffix(line, " ") {
				t.Fatalf("%d: %d columns, not %d:\n%s", i, utf8.RuneCountInString(line), width, text)
			}
		}
	}
}

// terminal runs lab in a terminal of so many columns.
func terminal(t *testing.T, columns uint16, args ...string) (code int, text string) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer control.Close()
	number, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(control.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err != nil {
		t.Fatal(err)
	}
	screen, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	shown := make(chan string)
	go func() {
		text, _ := io.ReadAll(control) // an error says that the terminal was closed
		shown <- string(text)
	}()
	code = run(args, strings.NewReader(untidy), screen, io.Discard)
	screen.Close()
	return code, strings.ReplaceAll(<-shown, "\r\n", "\n")
}

// long has names as long as they may be, and both families.
const long = `
lab "LAB" {}
switch "SWITCH" { subnet = ["192.168.205.0/24", "fd00:1111:2222:3333::/64"] }
router "ROUTER" {
  on "SWITCH" { address = ["192.168.205.1", "fd00:1111:2222:3333:4444:5555:6666:7777"] }
}
node "NODE" {
  count = 2
  on "SWITCH" {}
  pods = 2
}
network "pods" {
  cidr = ["10.42.0.0/16", "fd42:1111:2222::/48"]
  mode = "vxlan"
}
`

// TestTextFitsTheTerminal: every verb, its help and its errors of a lab with long names, down to 80 columns. What is there to
// be copied stays whole: examples, commands, scripts and CSV.
func TestTextFitsTheTerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	longest := func(c string, n int) string { return strings.Repeat(c, n) }
	text := strings.NewReplacer("LAB", "faults-"+longest("l", 20), "SWITCH", longest("s", 40), "ROUTER", longest("r", 60), "NODE", longest("n", 60)).Replace(long)
	name := "faults-" + longest("l", 20)
	file := filepath.Join(t.TempDir(), "long.hcl")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	results := recording(t)
	if os.Geteuid() == 0 {
		must(t, "up", file)
		t.Cleanup(func() { must(t, "down", name) })
	}
	copied := []string{"lab logs", "lab plan", "lab bench", "lab up", "lab down", "lab exec", "lab shell", "lab compare", "lab completion bash", "lab completion zsh", "lab completion fish", "lab completion powershell", "lab fmt", "lab graph", "lab impair", "lab capture"}
	fits := func(t *testing.T, columns int, text string) {
		t.Helper()
		examples := false
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			switch {
			case line == "Examples:":
				examples = true
			case line == "":
				examples = false
			}
			if n := utf8.RuneCountInString(line); n > columns && !examples && !strings.Contains(line, "`") {
				t.Errorf("%d columns, not %d: %s", n, columns, line)
			}
		}
	}
	known := usages(name, file, results)
	for _, columns := range []uint16{80, 100, 200} {
		verbs(func(cmd *cobra.Command) {
			path := cmd.CommandPath()
			words := strings.Fields(path)[1:]
			t.Run(fmt.Sprintf("%s in %d columns", path, columns), func(t *testing.T) {
				if words := append(slices.Clone(words), "--help"); !strings.HasPrefix(path, "lab completion") && !cmd.Hidden { // cobra's text, and none at all
					_, text := terminal(t, columns, words...)
					fits(t, int(columns), text)
				}
				u, ok := known[path]
				if !ok || u.args == nil || slices.Contains(copied, path) {
					return
				}
				if u.root {
					needRoot(t)
				}
				for _, arg := range u.args {
					if strings.HasSuffix(arg, "/p1") { // a pod, on a node whose name is longer here
						arg = longest("n", 60) + strings.TrimPrefix(arg, "n")
					}
					words = append(words, arg)
				}
				code, text := terminal(t, columns, placed(t, words)...)
				if code != 0 || text == "" {
					t.Errorf("exit status %d:\n%s", code, text)
				}
				if path == "lab status" {
					for _, said := range []string{"192.168.205.1/24", "fd00:1111:2222:3333:4444:5555:6666:7777/64", longest("n", 60) + "2", "3 ports"} {
						if !strings.Contains(text, said) {
							t.Errorf("%s is not shown:\n%s", said, text)
						}
					}
				}
				fits(t, int(columns), text)
			})
		})
	}
	if os.Geteuid() != 0 {
		return
	}
	// A lab that fails, and has drifted.
	if out := must(t, "exec", "-l", name, longest("n", 60)+"1", "--", "ip", "link", "set", "flannel.1", "down"); out != "" {
		t.Fatal(out)
	}
	for _, columns := range []uint16{80, 120} {
		code, text := terminal(t, columns, "check", name)
		if code != answer || !strings.Contains(text, "✗") {
			t.Errorf("exit status %d:\n%s", code, text)
		}
		fits(t, int(columns), text)
		if _, text = terminal(t, columns, "status", name); !strings.Contains(text, "Drift:") {
			t.Error(text)
		}
		text, _, _ = strings.Cut(text, "Drift:") // commands, as those of plan
		fits(t, int(columns), text)
	}
}
