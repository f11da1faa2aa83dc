package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed"
)

type impairDocument struct {
	Link   string `json:"link"`   // worker1:eth0
	Impair string `json:"impair"` // delay=10ms loss=1%
}

func impairDocuments(all plan.Impairments) []impairDocument {
	docs := []impairDocument{}
	for _, plug := range slices.SortedFunc(maps.Keys(all), func(a, b plan.Plug) int { return plan.Natural(a.String(), b.String()) }) {
		docs = append(docs, impairDocument{plug.String(), all[plug].String()})
	}
	return docs
}

func (c *command) impair() *cobra.Command {
	var labName string
	cmd := &cobra.Command{
		Use:   "impair TARGET[:IF] {delay=… jitter=… loss=… rate=… | none}",
		Short: "Change what a link of a running lab does to packets",
		Long: `Changes what a link of a running lab does to packets, as the attributes of a switch do for all of its links. TARGET is a
machine, with :IF where it has several interfaces, or a switch: then it is all of its links. Delay, jitter and loss are those
of packets that the machine sends; the rate is limited both ways. What is not named stays as it is, and 0 turns it off; none
turns all off.

It is kept until "lab down": "lab up" leaves it, "lab up --reset" undoes it, and "lab status" shows it.`,
		Example: `  lab impair worker1 delay=50ms jitter=10ms loss=1%
  lab impair gw:eth1 rate=10mbit
  lab impair worker1 loss=0              # the delay stays
  lab impair lan none
  lab up three-node --reset              # as it is defined`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return refuse("say which link and what it is to do: lab impair worker1 delay=50ms, or lab impair worker1 none")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return completeTarget(&labName)(cmd, args, typed)
			}
			words := []string{}
			for _, name := range lab.Impairments {
				if !slices.ContainsFunc(args[1:], func(a string) bool { return strings.HasPrefix(a, name+"=") }) {
					words = append(words, name+"=")
				}
			}
			if len(args) == 1 {
				words = append(words, "none")
			}
			return words, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := features("impair", false)
			if err != nil {
				return err
			}
			name, err := c.instance(cmd, labName, choice{})
			if err != nil {
				return err
			}
			r, err := testbed.Load(name)
			if err != nil {
				return errors.New(unrecorded(err))
			}
			before, err := c.running(name, f)
			if err != nil {
				return err
			}
			plugs, err := plugsOf(before.Cluster, args[0])
			if err != nil {
				return err
			}
			all := maps.Clone(r.Impair)
			if all == nil {
				all = plan.Impairments{}
			}
			var only []plan.Key
			for _, p := range plugs {
				now, err := before.Cluster.Impairment(p.machine, p.nic).With(args[1:])
				if err != nil {
					return refuse("%w", err)
				}
				all[p.Plug] = now
				if now == p.nic.Switch.Impair { // as it is defined
					delete(all, p.Plug)
				}
				only = append(only, before.Cluster.Qdiscs(p.machine, p.nic)...)
			}
			s := recorded(r)
			p, err := c.build(s, choice{mode: r.Mode, proxy: r.Proxy, instance: name, impair: all}, f)
			if err != nil {
				return err
			}
			r.Impair = p.Cluster.Impaired()
			defer c.working()()
			changes, err := testbed.Change(cmd.Context(), p, *r, only, testbed.Watch{Busy: func() { c.waits(name) }})
			if err != nil {
				return err
			}
			if c.json() {
				return c.document(map[string]any{"schema": schema, "lab": name, "changes": len(changes), "impaired": impairDocuments(r.Impair)})
			}
			var rows []row
			for _, plug := range plugs {
				rows = append(rows, row{cells: []string{plug.String(), p.Cluster.Impairment(plug.machine, plug.nic).String()}})
			}
			_, err = fmt.Fprint(c.out, columns(rows, width(c.out)))
			return err
		},
	}
	cmd.Flags().StringVarP(&labName, "lab", "l", "", "the `lab`, where several are running")
	completeFlag(cmd, "lab", runningLabs)
	return cmd
}

// plugged is an interface of a machine.
type plugged struct {
	plan.Plug
	machine *lab.Machine
	nic     *lab.Interface
}

// plugsOf finds the links that a target means.
func plugsOf(cluster *plan.Cluster, target string) ([]plugged, error) {
	name, nic, named := strings.Cut(target, ":")
	var found []plugged
	var known, of []string
	for _, s := range cluster.Lab.Switches {
		known = append(known, s.Name)
	}
	for _, m := range cluster.Lab.Machines {
		known = append(known, m.Name)
		for _, i := range m.Interfaces {
			switch {
			case m.Name == name:
				of = append(of, i.Name)
				if !named || i.Name == nic {
					found = append(found, plugged{plan.Plug{Machine: m.Name, Interface: i.Name}, m, i})
				}
			case i.Switch.Name == name && !named:
				found = append(found, plugged{plan.Plug{Machine: m.Name, Interface: i.Name}, m, i})
			}
		}
		for _, pod := range m.Pods {
			if m.Name+"/"+pod.Name == name {
				return nil, refuse("%s is a pod, and its link is on no switch; impair that of its node: %s", name, m.Name)
			}
		}
	}
	switch {
	case len(found) > 1 && len(of) > 1:
		return nil, refuse("%s has several interfaces; say which: %s:%s", name, name, strings.Join(of, ", "+name+":"))
	case len(found) > 0:
		return found, nil
	case len(of) > 0:
		return nil, refuse("%s has no interface %s.%s", name, nic, lab.Suggest(nic, of, "It has"))
	case slices.Contains(known, name):
		return nil, refuse("%s is a switch; say its name alone for all of its links, or a machine's", name)
	}
	return nil, refuse("lab %s has no %s.%s", cluster.Name, name, lab.Suggest(name, known, "It has"))
}
