package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/graph"
	"labnet/lab/plan"
	"labnet/testbed"
)

// graphFormats are what a picture can be written as.
var graphFormats = []string{"svg", "mermaid", "json"}

func (c *command) graph() *cobra.Command {
	var ch choice
	var format string
	var show []string
	cmd := &cobra.Command{
		Use:   "graph [FILE|NAME]",
		Short: "Draw a lab, as it is planned or as it runs",
		Long: `Draws a lab: switches, machines, pods, the links between them with addresses and MTUs, and what the mode lays over them:
tunnels and BGP sessions. Of a definition it draws the plan, for which root is not needed. Of a running lab, which is
meant by its name, it draws what is there, and marks what is down and what has drifted. Where a file and a running lab have
the name, it is the file; with --mode, --var or --var-file it is the definition.

The picture is an SVG file that needs nothing else, light or dark as the reader's screen is; or text for Mermaid, which
pages of many projects show. Many pods of a node are drawn as one; the mouse shows what has no room.`,
		Example: `  lab graph three-node > three-node.svg
  lab graph three-node --mode vxlan --show underlay,overlay > tunnels.svg
  lab graph lab.hcl --format mermaid
  lab graph three-node > now.svg         # while it runs: as it is`,
		Args:              atMost(1),
		ValidArgsFunction: completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format == "" {
				format = map[bool]string{true: "json", false: "svg"}[c.json()]
			}
			if !slices.Contains(graphFormats, format) {
				return refuse("--format %s: it is one of %s", format, strings.Join(graphFormats, ", "))
			}
			for _, layer := range show {
				if !slices.Contains(graph.Layers, layer) {
					return refuse("--show %s: there is no such layer.%s", layer, lab.Suggest(layer, graph.Layers, "There are"))
				}
			}
			p, err := c.picture(cmd, first(args), ch)
			if err != nil {
				return err
			}
			p.Only(show)
			switch format {
			case "json":
				return c.document(struct {
					Schema int `json:"schema"`
					*graph.Picture
				}{schema, p})
			case "mermaid":
				_, err = fmt.Fprint(c.out, p.Mermaid())
			default:
				_, err = c.out.Write(p.SVG())
			}
			return err
		},
	}
	ch.inputFlags(cmd)
	cmd.Flags().StringVar(&ch.mode, "mode", "", "draw the definition in this `mode`, whatever it says")
	ch.modeCompletion(cmd)
	cmd.Flags().StringVar(&format, "format", "", "`format`: "+strings.Join(graphFormats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(graphFormats, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringSliceVar(&show, "show", graph.Layers, "draw only these `layers`")
	completeList(cmd, "show", func([]string) []string { return graph.Layers })
	return cmd
}

// picture finds what will be drawn.
func (c *command) picture(cmd *cobra.Command, arg string, ch choice) (*graph.Picture, error) {
	if name, err := c.drawn(cmd, arg, ch); err != nil || name != "" {
		if err != nil {
			return nil, err
		}
		return c.pictureOf(cmd.Context(), name)
	}
	s, err := c.find(arg, ch)
	if err != nil {
		return nil, err
	}
	p, err := c.build(s, ch, plan.AllFeatures()) // wherever it is drawn, it is one picture
	if err != nil {
		return nil, err
	}
	return graph.Planned(p), nil
}

// drawn is the running lab that arg means, if it means one.
func (c *command) drawn(cmd *cobra.Command, arg string, ch choice) (string, error) {
	if arg == "-" || ch.mode != "" || len(ch.vars)+len(ch.varFiles) > 0 {
		return "", nil
	}
	if arg == "" {
		if _, err := c.find("", ch); err == nil { // there is a definition in this folder
			return "", nil
		}
		only, _ := testbed.Only()
		return only, nil
	}
	if isDefinition(arg) {
		return "", nil
	}
	if slices.Contains(testbed.Recorded(), arg) {
		return arg, nil
	}
	all, err := testbed.Instances(cmd.Context())
	if mute(err) != "" {
		err = nil
	}
	for _, i := range all {
		if i.Name == arg {
			return arg, err
		}
	}
	return "", err
}

// pictureOf draws a running lab. Where its record is lost, nobody knows what has drifted.
func (c *command) pictureOf(ctx context.Context, name string) (*graph.Picture, error) {
	f, err := testbed.Probe(false)
	if why := mute(err); why != "" {
		p, err := c.running(name, plan.AllFeatures())
		if err != nil {
			return nil, err
		}
		c.say("%s: this is lab %s as it was defined, and not what is there.", why, name)
		return graph.Planned(p), nil
	}
	if err != nil {
		return nil, err
	}
	mode, note := "", ""
	var p *plan.Plan
	r, err := testbed.Load(name)
	if err == nil {
		mode = r.Mode
		p, err = c.running(name, f)
	}
	want := &plan.State{}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil:
		want = p.State
	case errors.As(err, &status{}):
		note = "its definition, as recorded below /run/lab, is no longer valid; " + writesAgain
	case r == nil:
		note = unrecorded(err)
	default:
		note = err.Error()
	}
	actual, err := testbed.Read(ctx, name, want)
	if err != nil {
		return nil, err
	}
	if p != nil && drilled(name) { // what has drifted is the drill's answer
		picture := graph.Seen(name, mode, p, actual)
		picture.Note = "a drill is on"
		return picture, nil
	}
	picture := graph.Found(name, mode, p, actual)
	if picture.Note = note; note != "" {
		c.say("Drift is unknown, and so are the links: %s.", note)
	}
	return picture, nil
}
