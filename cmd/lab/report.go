package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"labnet/lab/report"
)

func (c *command) report() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "Render recorded results again, from the raw samples",
		Long: `Renders what "lab compare" recorded: as text; as Markdown to paste; as one HTML file that needs nothing else; as CSV,
a row for every sample; as JSON; or in Go's benchmark format, for benchstat. All is computed anew from the raw samples.`,
		Example: `  lab report results/three-node-20260101-120000
  lab report results/three-node-20260101-120000 --format html > report.html
  lab report results/three-node-20260101-120000 --format bench | benchstat -col /mode -
  lab report diff results/three-node-20260101-120000 results/three-node-20260102-120000`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return refuse("say which results: lab report results/three-node-…")
			}
			return nil
		},
		ValidArgsFunction: completeFolders(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.render(&format, report.Formats); err != nil {
				return err
			}
			r, err := report.Read(args[0])
			if err != nil {
				return status{refused, err}
			}
			return r.Write(c.out, format, width(c.out), colour(c.out))
		},
	}
	renderFlag(cmd, &format, report.Formats)
	cmd.AddCommand(c.reportDiff())
	return cmd
}

func (c *command) reportDiff() *cobra.Command {
	var format, failOn string
	var force bool
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Put two recorded comparisons side by side",
		Long: `Says in a sentence what changed between two recordings and how sure that is, and shows what both say of the modes that
both have: medians, ratios to the baseline, whether their intervals overlap, and whether they differ beyond the noise of
both. Recordings of different machines, labs or wire models answer different questions and are refused; --force shows
them all the same, and says what is not the same.

With --fail-on slower:5% the exit status is 3 where a mode does worse against the baseline by more than 5 %, beyond the
noise of both, in a number that measurements are made for: a round trip, a goodput.`,
		Example: `  lab report diff results/before results/after
  lab report diff results/before results/after --fail-on slower:5%
  lab report diff results/before results/after --format md`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return refuse("say which two results: lab report diff results/before results/after")
			}
			return nil
		},
		ValidArgsFunction: completeFolders(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.render(&format, report.DiffFormats); err != nil {
				return err
			}
			limit, err := failLimit(failOn)
			if err != nil {
				return err
			}
			var read []*report.Results
			for _, dir := range args {
				r, err := report.Read(dir)
				if err != nil {
					return status{refused, err}
				}
				read = append(read, r)
			}
			d := report.Compare(read[0], read[1])
			if len(d.Disagreements) > 0 && !force {
				return refuse("%s and %s are not recordings of the same thing:\n  %s\n--force puts them side by side all the same",
					args[0], args[1], strings.Join(d.Disagreements, "\n  "))
			}
			if err := d.Write(c.out, format, width(c.out), colour(c.out)); err != nil || failOn == "" {
				return err
			}
			if d.Tested() == 0 {
				return refuse("--fail-on %s: %s", failOn, strings.Join(d.Sentences, ". "))
			}
			if slower := d.Slower(limit); len(slower) > 0 {
				c.say("%s: %s.", failOn, slower[0])
				return status{code: answer}
			}
			return nil
		},
	}
	renderFlag(cmd, &format, report.DiffFormats)
	cmd.Flags().StringVar(&failOn, "fail-on", "", "exit with 3 where a mode became slower by more than a percentage: `slower:5%`")
	completeFlag(cmd, "fail-on", func(*cobra.Command) []string { return []string{"slower:5%", "slower:10%"} })
	cmd.Flags().BoolVar(&force, "force", false, "also recordings of different machines, labs or wire models")
	return cmd
}

// failLimit reads slower:5% as 0.05.
func failLimit(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	number, ok := strings.CutPrefix(text, "slower:")
	number, percent := strings.CutSuffix(number, "%")
	share, err := strconv.ParseFloat(number, 64)
	if !ok || !percent || err != nil || !(share >= 0 && share <= 1000) {
		return 0, refuse("--fail-on %s: it is slower: and a percentage, such as slower:5%%", text)
	}
	return share / 100, nil
}

// render settles the format of a report: --format goes before -o.
func (c *command) render(format *string, formats []string) error {
	if *format == "" {
		*format = c.format
	}
	if !slices.Contains(formats, *format) {
		return refuse("--format %s: it is one of %s", *format, strings.Join(formats, ", "))
	}
	return nil
}

func renderFlag(cmd *cobra.Command, format *string, formats []string) {
	cmd.Flags().StringVar(format, "format", "", "`format`: "+strings.Join(formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}
