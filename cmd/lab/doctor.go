package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes"
	"labnet/testbed"
	"labnet/testbed/holder"
)

// What is known of a mode on a kernel.
const (
	works   = "works"
	lacking = "lacking"
	unknown = "unknown"
)

var marks = map[string]string{works: "✓", lacking: "✗", unknown: "?"}

type modeDocument struct {
	Mode     string        `json:"mode"`
	OK       bool          `json:"ok"`
	State    string        `json:"state"`
	Datapath plan.Datapath `json:"datapath"`
	Missing  []string      `json:"missing"`
	Remedy   string        `json:"remedy"`
}

func (c *command) doctor() *cobra.Command {
	var load bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this kernel supports, mode by mode",
		Long: `Shows what this kernel and user can do, mode by mode, and the remedy for what they cannot: ✓ it works, ✗ it does not,
? unknown, because the kernel cannot be asked. Nothing is loaded or created in your own network for it. Root can do more
than other users: run it as the user who will build labs. Where users may not have their own namespaces, it says what
forbids them.`,
		Example: `  lab doctor                             # what you can do without root
  sudo lab doctor                        # what root can`,
		Args: atMost(0),
		RunE: func(*cobra.Command, []string) error {
			f, err := testbed.Probe(load)
			mute := mute(err)
			if err != nil && mute == "" {
				return err
			}
			remedy := mute
			var forbidden *holder.Forbidden
			if errors.As(c.outside, &forbidden) {
				mute, remedy = forbidden.Reason, forbidden.Remedy+" Or run as root: \"sudo lab doctor\"."
			} else if errors.Is(err, testbed.ErrNotRoot) {
				mute, remedy = fmt.Sprintf("Not root, and without root %v", c.outside), "Run as root: \"sudo lab doctor\"."
			}
			list := []modeDocument{}
			for _, m := range modes.All {
				set, _ := m.Mode.Decode(hcl.EmptyBody(), nil)
				d := modeDocument{Mode: m.Name, State: unknown, Missing: []string{}, Remedy: remedy}
				if mute == "" {
					d.judge(append([]plan.Need{{Feature: plan.FeatureBridge}, {Feature: plan.FeatureVeth}}, set.Needs(&plan.Net{Cluster: &plan.Cluster{Lab: &lab.Lab{}}, Def: &lab.Network{}})...), f)
					if m.Name == "cni" && d.OK {
						d.Remedy = testbed.UsualPlugins()
					}
				}
				list = append(list, d)
			}
			confined := testbed.InUserNamespace()
			kernel, root := testbed.Kernel(), os.Geteuid() == 0 && !confined
			if c.json() {
				return c.document(map[string]any{"schema": schema, "kernel": kernel, "root": root, "user_namespace": confined, "modes": list, "features": f})
			}
			who := "not root"
			switch {
			case root:
				who = "root"
			case holder.Inside():
				who = "without root, in your own namespaces"
			case os.Geteuid() == 0:
				who = "root of a user namespace, not of the machine"
			}
			fmt.Fprintf(c.out, "Linux %s, %s\n", kernel, who)
			if mute != "" {
				fmt.Fprintln(c.out, hang(mute+": what this kernel has cannot be determined. "+strings.TrimPrefix(remedy, mute), width(c.out), 0))
			}
			var rows []row
			for _, d := range list {
				if d.State == unknown {
					d.Remedy = "" // said once
				}
				rows = append(rows, row{cells: []string{" " + marks[d.State] + " " + d.Mode, string(d.Datapath), d.Remedy}})
			}
			for _, n := range []plan.Feature{plan.FeatureTBF, plan.FeatureNetem, plan.FeatureIPVS} {
				if mute == "" && !f[n] {
					what := map[plan.Feature]string{plan.FeatureTBF: "rate", plan.FeatureNetem: "delay, jitter, loss", plan.FeatureIPVS: "proxy ipvs"}[n]
					rows = append(rows, row{cells: []string{" " + marks[lacking] + " " + what, "", f.Remedy(plan.Need{Feature: n})}})
				}
			}
			for _, limit := range []struct {
				name    string
				feature plan.Feature
			}{{"memory", plan.FeatureMemory}, {"cpus", plan.FeatureCPU}, {"pids", plan.FeaturePIDs}} {
				if mute == "" && !f[limit.feature] {
					rows = append(rows, row{cells: []string{" " + marks[lacking] + " " + limit.name, "", f.Remedy(plan.Need{Feature: limit.feature})}})
				}
			}
			_, err = fmt.Fprint(c.out, "\n"+columns(rows, width(c.out)))
			return err
		},
	}
	cmd.Flags().BoolVar(&load, "load-modules", false, "load kernel modules that are missing")
	return cmd
}

// judge says whether a kernel has what a mode needs.
func (d *modeDocument) judge(needs []plan.Need, f plan.Features) {
	d.OK, d.State, d.Datapath = true, works, plan.Kernel
	for _, n := range needs {
		switch {
		case n.Feature == plan.FeatureTUN && f[n.Feature]:
			d.Datapath = plan.User
		case f[n.Feature]:
		case f.Meets(n):
			d.Datapath = plan.EBPF
		default:
			d.OK, d.State = false, lacking
			d.Missing = append(d.Missing, string(n.Feature))
			if remedy := f.Remedy(n); !strings.Contains(d.Remedy, remedy) {
				d.Remedy = strings.TrimSpace(d.Remedy + " " + remedy)
			}
		}
	}
	if !d.OK {
		d.Datapath = ""
	}
}

// mute says why the kernel cannot be probed, where permissions are missing.
func mute(err error) string {
	switch {
	case errors.Is(err, testbed.ErrNotRoot):
		return "Not root"
	case errors.Is(err, os.ErrPermission):
		return "The kernel refuses (" + err.Error() + ")"
	}
	return ""
}
