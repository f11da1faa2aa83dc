package main

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/labs"
	"labnet/modes"
	"labnet/testbed"
)

// What a shell offers. It is asked for without sudo as well; then it is what files tell.

// completeDefinition offers shipped labs and files; completeInstance also running labs.
func completeDefinition(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return labs.Names(), cobra.ShellCompDirectiveDefault
}

func completeInstance(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := append(runningLabs(cmd), labs.Names()...)
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveDefault
}

// completeStatus offers a lab, and then one of its machines or pods.
func completeStatus(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeInstance(cmd, args, typed)
	}
	return completeTarget(&args[0])(cmd, args[1:], typed)
}

// completeFolders offers folders for so many arguments.
func completeFolders(most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
}

func completeFlag(cmd *cobra.Command, flag string, words func(*cobra.Command) []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return words(cmd), cobra.ShellCompDirectiveNoFileComp
	})
}

// completeList completes the last word of a list with commas, and offers none twice.
func completeList(cmd *cobra.Command, flag string, words func(args []string) []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		var all []string
		for _, word := range words(args) {
			if !strings.Contains(","+before, ","+word+",") {
				all = append(all, before+word)
			}
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	})
}

func (ch *choice) modeCompletion(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("mode", func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return ch.variants(args), cobra.ShellCompDirectiveNoFileComp
	})
}

// variants are the modes that the definition knows: all there are, and those with a block of their own. It need not be
// right as a whole; it is being written.
func (ch *choice) variants(args []string) []string {
	names := modes.All.Names()
	if first(args) == "-" {
		return names
	}
	s, err := (&command{in: strings.NewReader("")}).find(first(args), choice{})
	if err != nil {
		return names
	}
	file, _ := hclsyntax.ParseConfig(lab.Join(s.files), s.name, hcl.InitialPos)
	if file == nil {
		return names
	}
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type == "mode" && len(b.Labels) == 1 && !slices.Contains(names, b.Labels[0]) {
			names = append(names, b.Labels[0])
		}
	}
	return names
}

// runningLabs are the names of the labs of this machine.
func runningLabs(cmd *cobra.Command) []string {
	names := testbed.Recorded()
	if all, err := testbed.Instances(cmd.Context()); err == nil {
		for _, i := range all {
			names = append(names, i.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// completeTarget offers the machines and pods of the running labs, or of one. Where none runs it is the only definition of
// this folder that tells.
func completeTarget(labName *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		var targets, known []string
		for _, name := range testbed.Recorded() {
			of := recordedTargets(name)
			if len(of) > 0 {
				known = append(known, name)
			}
			if *labName == "" || *labName == name {
				targets = append(targets, of...)
			}
		}
		if testbed.Others(known) { // a lab without a record; its namespaces have to be asked
			all, _ := testbed.Instances(cmd.Context())
			for _, i := range all {
				for _, m := range i.Machines {
					if m.Role != "switch" && !slices.Contains(known, i.Name) && (*labName == "" || *labName == i.Name) {
						targets = append(targets, m.Machine)
					}
				}
			}
		}
		if len(targets) == 0 && *labName == "" {
			if s, err := (&command{in: strings.NewReader("")}).find("", choice{}); err == nil {
				targets = s.targets()
			}
		}
		slices.Sort(targets)
		return slices.Compact(targets), cobra.ShellCompDirectiveNoFileComp
	}
}

// recordedTargets are those in the record of a lab.
func recordedTargets(name string) []string {
	r, err := testbed.Load(name)
	if err != nil {
		return nil
	}
	if r.Names == nil { // written by a version that kept none
		return recorded(r).targets()
	}
	var targets []string
	for name := range r.Names {
		if isService(r.Names, name) || isService(r.Names, strings.TrimSuffix(name, svc)) {
			continue
		}
		if pod, node, ok := strings.Cut(name, "."); ok {
			name = node + "/" + pod
		}
		targets = append(targets, name)
	}
	return targets
}

// svc ends the longer of the two names that a service has.
const svc = ".svc"

func isService(names testbed.Names, name string) bool {
	_, ok := names[name+svc]
	return ok
}

// recordedServices are the services of a lab, or of all where it has no name.
func recordedServices(labName string) (services []string) {
	for _, name := range testbed.Recorded() {
		r, err := testbed.Load(name)
		if err != nil || labName != "" && labName != name {
			continue
		}
		for name := range r.Names {
			if isService(r.Names, name) {
				services = append(services, name)
			}
		}
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// targets are the machines and pods of a definition.
func (s *source) targets() []string {
	l, _, _ := s.load()
	if l == nil {
		return nil
	}
	var targets []string
	for _, m := range l.Machines {
		targets = append(targets, m.Name)
		for _, p := range m.Pods {
			targets = append(targets, m.Name+"/"+p.Name)
		}
	}
	return targets
}
