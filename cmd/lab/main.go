// Command lab builds real network labs from HCL definitions, checks them with real packets, and measures one way of
// connecting pods against another.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"labnet/lab"
	"labnet/testbed"
	"labnet/testbed/agent"
	"labnet/testbed/agent/supervise"
	"labnet/testbed/holder"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case testbed.EnterArg:
			os.Exit(testbed.Enter(os.Args[2:]))
		case testbed.PluginArg:
			os.Exit(testbed.Plugin(os.Args[2:]))
		case testbed.AgentArg:
			os.Exit(agent.Main(os.Args[2:]))
		case supervise.ContainArg:
			os.Exit(supervise.Contain(os.Args[2:]))
		case supervise.JoinArg:
			os.Exit(supervise.Join(os.Args[2:]))
		case holder.HoldArg:
			os.Exit(holder.Hold())
		case holder.WithinArg:
			os.Exit(holder.Within(os.Args[2:]))
		}
	}
	holder.Tie()
	debug.SetGCPercent(200) // collecting at the usual hundred is a tenth of a big lab's up
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Exit statuses, a contract with scripts.
const (
	failed  = 1  // it was tried and did not work
	refused = 2  // the request or the definition is wrong; nothing was touched
	answer  = 3  // the answer is no
	broken  = 70 // an internal error (EX_SOFTWARE of sysexits.h)
)

// status is an error with an exit status. A nil err means that everything has been said.
type status struct {
	code int
	err  error
}

func (s status) Error() string {
	if s.err == nil {
		return fmt.Sprintf("exit status %d", s.code)
	}
	return s.err.Error()
}
func (s status) Unwrap() error { return s.err }

// refuse is for requests that make no sense: nothing has been touched.
func refuse(format string, args ...any) error { return status{refused, fmt.Errorf(format, args...)} }

// run is main with its surroundings passed in.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	c := &command{in: stdin, args: args}
	ctx, stop := c.interruptible(stdout, stderr)
	defer stop()
	defer func() {
		if value := recover(); value != nil {
			code = c.confess(args, testbed.Fault{Value: value, Stack: debug.Stack()})
		}
	}()
	root := c.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(c.out)
	root.SetErr(c.err)
	err := root.ExecuteContext(ctx)
	var fault testbed.Fault
	if errors.As(err, &fault) {
		return c.confess(args, fault)
	}
	var s status
	errors.As(err, &s)
	if lost := c.lost(); lost != nil && (err == nil || s.code == answer) {
		err, s = lost, status{}
	}
	if err == nil {
		return 0
	}
	if s.code == 0 {
		s = status{failed, err}
	}
	if s.err != nil && !errors.Is(err, syscall.EPIPE) {
		c.say("lab: %s", strings.ReplaceAll(err.Error(), context.Canceled.Error(), "interrupted"))
	}
	return s.code
}

// confess says what to do about an internal error.
func (c *command) confess(args []string, f testbed.Fault) int {
	c.say("lab: %v\nThis is a bug in lab. Please report it with your definition, the command \"lab %s\", and all of this:\nlab %s, %s, Linux %s\n\n%s",
		f, strings.Join(args, " "), version(), runtime.Version(), testbed.Kernel(), f.Stack)
	return broken
}

// command holds what all verbs share.
type command struct {
	in     io.Reader
	out    *output // data
	err    *output // everything else
	format string  // -o

	args     []string
	rootless bool  // --rootless
	outside  error // why a verb that could do with a world of the user's has none

	atWork atomic.Int32 // what must not be left half done; see working
}

func (c *command) json() bool { return c.format == "json" }

// document prints a JSON document on stdout.
func (c *command) document(doc any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

// say tells a person something; never data.
func (c *command) say(format string, args ...any) { fmt.Fprintf(c.err, format+"\n", args...) }

func isTerminal(w any) bool {
	f, ok := file(w)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour says whether the writer is a terminal whose user has not turned colour off (https://no-color.org).
func colour(w any) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// width is the terminal's, or what a mail or a log can bear.
func width(w any) int {
	if f, ok := file(w); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 20 {
			return columns
		}
	}
	return 100
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "lab",
		Short: "Real network labs from HCL: build them, break them, measure them",
		Long: `lab reads a definition of a cluster and builds it in the Linux kernel: namespaces, bridges, veths, routes. It
connects the pods in the mode you choose, proves with real packets that the mode does what it promises, and
measures the modes against one another.

FILE is the path of a file, a folder whose *.hcl files are one lab, "-" for standard input, or the name of a lab
that ships with the program; if left out, it is the only *.hcl file of this folder. A machine is written node1, a
pod node1/p1.

Run by root, lab works on the machine's network namespaces. Run by any other user it works in that user's own namespaces,
without sudo; what the kernel reserves for root, eBPF above all, is not available there.

Exit status: 0 done; 1 it failed; 2 the request or the definition is wrong and nothing was touched; 3 the
answer is no (check failed, plan --exit-code found something to do); 70 an internal error, to be reported.`,
		Example: `  lab up three-node                      # build it
  lab check three-node                   # prove it, with packets
  lab trace master/p1 worker1/p1         # follow a packet
  lab exec worker1/p1 -- ip route        # look around
  lab up three-node --mode vxlan         # change its mode in place
  lab compare three-node --quick         # measure the modes against one another
  lab down three-node`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			var verbs []string
			for _, v := range cmd.Commands() {
				verbs = append(verbs, append(v.Aliases, v.Name())...)
			}
			slices.Sort(verbs)
			return refuse("there is no command %q.%s", args[0], lab.Suggest(args[0], verbs, "There are"))
		},
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if c.format != "text" && c.format != "json" {
				return refuse("-o %s: the output is text or json", c.format)
			}
			return c.goThere(cmd)
		},
	}
	c.fitHelp(root)
	root.PersistentFlags().StringVarP(&c.format, "output", "o", "text", "output `format`: text or json")
	root.PersistentFlags().BoolVar(&c.rootless, "rootless", false, "work without root, as for an ordinary user, also when it is root that calls")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return refuse("%w\nSee \"%s --help\".", err, cmd.CommandPath())
	})
	root.AddCommand(
		c.up(), c.down(), c.plan(), c.status(), c.graph(), c.check(), c.trace(), c.walk(), c.capture(), c.impair(), c.exec(), c.shell(), c.logs(),
		c.compare(), c.bench(), c.report(),
		c.drill(), c.faults(), c.breaks(),
		c.validate(), c.fmt(), c.modes(), c.doctor(), c.version(),
		c.extcap(), c.byHand("agent"), c.byHand("program"), c.byHand("cni"),
	)
	return root
}

// atMost is cobra.MaximumNArgs with the exit status of a wrong request.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return refuse("%s takes at most %d argument(s), not %q\nSee \"%s --help\".", cmd.CommandPath(), n, args, cmd.CommandPath())
		}
		return nil
	}
}
