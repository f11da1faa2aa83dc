package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/report"
	"labnet/testbed/compare"
)

// request is all that decides what a comparison does. It is kept beside the results, so that it can go on.
type request struct {
	File     string            `json:"file"`
	Source   string            `json:"source"`
	Vars     map[string]string `json:"vars"`
	Values   string            `json:"values,omitempty"`
	Texts    map[string]string `json:"texts,omitempty"`
	Modes    []string          `json:"modes"`
	Allow    bool              `json:"allow,omitempty"` // CNI plugins of a definition that is not the user's own
	Proxies  []string          `json:"proxies,omitempty"`
	Sweeps   []sweep           `json:"sweeps,omitempty"`
	Set      string            `json:"set"`
	Wires    []string          `json:"wires"`
	Paths    []string          `json:"paths"`
	Measures []string          `json:"measures"`
	Engine   string            `json:"engine"`
	Rounds   int               `json:"rounds"`

	Generations int `json:"generations"`

	Seed   uint64        `json:"seed"`
	Warmup time.Duration `json:"warmup"`
	Window time.Duration `json:"window"`
}

// requestName is its file in the folder of the results.
const requestName = "request.json"

func (c *command) compare() *cobra.Command {
	var ch choice
	var want request
	var quick, thorough, full, strict bool
	var out, resume string
	var sweeps []string
	cmd := &cobra.Command{
		Use:   "compare [FILE]",
		Short: "Build the lab in each mode, measure them against one another",
		Long: `Builds private instances of the lab in each mode, and of the first mode once more, to see what is found between
equals. Proves on the wire that each mode is what it says, and measures.

Path cost ranks the modes: the kernel's work for a message, as the time of a round trip between pods of two nodes with
both ends on one CPU. Its rounds are generations: 14 times an instance of every mode, built before the measuring begins.
One instance has the rules of its firewall taken away, which tells the cost of the path from that of the rules.

Capacity is what the machine carries: streams and round trips with the ends on two CPUs, in rounds in which the modes
take turns in random order. The wire model says what becomes of packets between nodes: nic cuts and merges them as
network cards do; bare does not merge; super is veth as it is; shaped is a limited rate, where the ratios must be those
of the headers. Measures of what is no traffic are building, objects in the kernel, memory, the first packet, a pulled
cable. With --thorough capacity ranks as well, over more measures and longer ones.

What is compared are medians of whole rounds and the ratio to the first mode; with too few rounds nothing is ranked.
The results, every sample among them, are written to --out after each round: Ctrl-C keeps the rounds that are finished,
--resume goes on, "lab report DIR" renders them again. docs/measuring.md explains how to read them.`,
		Example: `  lab compare three-node --quick
  lab compare three-node --modes host-gw,vxlan --rounds 20
  lab compare three-node --measures path-cost
  lab compare three-node --modes host-gw,vxlan --sweep mtu=1500,9000
  lab compare services-scale --proxies nftables,iptables
  lab compare three-node --measures tcp-rr --paths cross-node --wire nic,bare
  lab compare --resume results/three-node-…
  lab report results/three-node-… --format html > report.html`,
		Args:              atMost(1),
		ValidArgsFunction: completeDefinition,
		RunE: func(cmd *cobra.Command, args []string) error {
			want.Set = compare.Default
			for set, given := range map[string]bool{compare.Quick: quick, compare.Thorough: thorough, compare.Full: full} {
				if given && want.Set != compare.Default {
					return refuse("--%s and --%s exclude each other", set, want.Set)
				}
				if given {
					want.Set = set
				}
			}
			var err error
			if want.Sweeps, err = parseSweeps(sweeps); err != nil {
				return err
			}
			if resume == "" {
				if out == "" {
					out = "results"
				}
				return c.begin(cmd.Context(), first(args), ch, want, out, !cmd.Flags().Changed("out"), cmd.Flags().Changed("sweep"), strict)
			}
			if len(args) > 0 {
				return refuse("--resume %s uses the recorded definition; leave out %s", resume, args[0])
			}
			for _, name := range []string{"modes", "proxies", "paths", "measures", "wire", "rounds", "sweep", "quick", "thorough", "full", "seed", "engine", "out", "var", "var-file", "allow-commands"} {
				if cmd.Flags().Changed(name) {
					return refuse("--resume %s keeps the recorded settings; leave out --%s", resume, name)
				}
			}
			return c.resume(cmd.Context(), resume, strict)
		},
	}
	ch.inputFlags(cmd)
	ch.allowFlag(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&want.Modes, "modes", nil, "compare these `modes` or variants; the first is the baseline")
	flags.StringSliceVar(&want.Proxies, "proxies", nil, "translate services with each of these `proxies`: "+strings.Join(lab.Proxies, ", "))
	flags.StringSliceVar(&want.Paths, "paths", nil, "measure along these `paths`: "+strings.Join(compare.Paths, ", "))
	flags.StringSliceVar(&want.Measures, "measures", nil, "`measures` to take: "+strings.Join(compare.Measures, ", "))
	flags.StringSliceVar(&want.Wires, "wire", nil, "`wire models`, the first of which ranks: "+strings.Join(compare.WireNames(), ", "))
	flags.StringArrayVar(&sweeps, "sweep", nil, "compare every mode at several values: `name=value,value` of a variable or of the switches' attributes, or firewall=on,off; none: not even those of the definition")
	flags.IntVar(&want.Rounds, "rounds", 0, "measure this many rounds, and generations of path cost (default 8 and 14)")
	flags.BoolVar(&quick, "quick", false, "a first look within two minutes; too short to rank modes")
	flags.BoolVar(&thorough, "thorough", false, "rank capacity as well: more measures and longer ones, in about an hour")
	flags.BoolVar(&full, "full", false, "every measure along every path, under every wire model; takes hours")
	flags.Uint64Var(&want.Seed, "seed", 0, "order the rounds by this seed (default: a random one, recorded)")
	flags.StringVar(&want.Engine, "engine", "", "what makes the load: lab, or iperf3 where it is installed, as an independent witness of tcp-stream")
	flags.DurationVar(&want.Window, "window", 0, "count for so long in every measurement of capacity (default 100ms)")
	flags.StringVar(&out, "out", "", "write the results to this `folder` (default results/LAB-TIME)")
	flags.StringVar(&resume, "resume", "", "resume the comparison in this `folder`")
	flags.BoolVar(&strict, "strict", false, "exit with 3 when there are too few rounds to rank")
	completeList(cmd, "modes", ch.variants)
	for name, words := range map[string][]string{"proxies": lab.Proxies, "paths": compare.Paths, "measures": compare.Measures, "wire": compare.WireNames()} {
		completeList(cmd, name, func([]string) []string { return words })
	}
	_ = cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(compare.Engines, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("out")
	_ = cmd.MarkFlagDirname("resume")
	return cmd
}

// begin starts a comparison. What the command line leaves open the definition says, and what both leave open the defaults.
func (c *command) begin(ctx context.Context, arg string, ch choice, want request, out string, dated, swept, strict bool) error {
	s, err := c.find(arg, ch)
	if err != nil {
		return err
	}
	l, _, err := c.load(s)
	if err != nil {
		return err
	}
	if given := l.Compare; given != nil {
		want.Modes, want.Proxies = or(want.Modes, given.Modes), or(want.Proxies, given.Proxies)
		want.Paths, want.Measures = or(want.Paths, given.Paths), or(want.Measures, given.Measures)
		for _, s := range given.Sweeps {
			if !swept {
				want.Sweeps = append(want.Sweeps, sweep(s))
			}
		}
		if want.Rounds == 0 && want.Set != compare.Quick {
			want.Rounds = given.Rounds
		}
	}
	want.File, want.Source, want.Vars, want.Values, want.Texts = s.name, string(lab.Join(s.files)), l.Vars, l.Values, l.Texts
	if dated {
		out = filepath.Join(out, l.Name+"-"+time.Now().Format("20060102-150405"))
	}
	if _, err := os.Stat(filepath.Join(out, requestName)); err == nil {
		return refuse("%s already holds a comparison; choose another folder, or resume it: lab compare --resume %[1]s", out)
	}
	want.Allow = ch.allow
	return c.runComparison(ctx, want, nil, out, strict)
}

// resume goes on with a comparison that ended before it was finished.
func (c *command) resume(ctx context.Context, dir string, strict bool) error {
	text, err := os.ReadFile(filepath.Join(dir, requestName))
	if err != nil {
		return status{refused, fmt.Errorf("no comparison to resume: %w", err)}
	}
	var want request
	if err := json.Unmarshal(text, &want); err != nil {
		return status{refused, fmt.Errorf("%s: %w", filepath.Join(dir, requestName), err)}
	}
	prior, err := report.Read(dir)
	if errors.Is(err, os.ErrNotExist) {
		prior, err = nil, nil // it ended before the first round did
	}
	if err != nil {
		return status{refused, err}
	}
	return c.runComparison(ctx, want, prior, dir, strict)
}

func or(a, b []string) []string {
	if len(a) > 0 {
		return a
	}
	return b
}

// duration is rounded to what a person wants to know: 42s, 7m30s, 1h5m.
func duration(d time.Duration) string {
	switch {
	case d > time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d > 2*time.Minute:
		return d.Round(10 * time.Second).String()
	}
	return d.Round(time.Second).String()
}
