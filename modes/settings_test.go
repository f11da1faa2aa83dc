package modes

import (
	"maps"
	"slices"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
)

// TestSettingsOfTheMachine: on a machine whose own settings are none of the kernel's, every namespace with addresses has each of
// them set, by the mode or as the kernel has it, and what interfaces take over before there is any. On another machine no
// plan says a word more.
func TestSettingsOfTheMachine(t *testing.T) {
	own := plan.Inheritable()
	odd := plan.AllFeatures()
	for path := range own {
		odd[plan.Inherited(path)] = true
	}
	for _, name := range general {
		text, _ := labs.Read(name)
		l, _, diags := lab.Load(name+".hcl", text, lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		for _, mode := range All.Names() {
			options := plan.Options{Mode: mode, Modes: All, Features: plan.AllFeatures()}
			usual, _ := plan.Build(l, options)
			options.Features = odd
			p, _ := plan.Build(l, options)
			if p == nil {
				continue
			}
			linked, more := map[string]bool{}, 0
			set := map[string][]string{}
			for _, o := range p.State.Objects() {
				switch o := o.(type) {
				case plan.Link:
					linked[o.Namespace] = true
				case plan.Sysctl:
					set[o.Namespace] = append(set[o.Namespace], o.Path)
					family, of, setting := plan.Setting(o.Path)
					if of == "default" && linked[o.Namespace] {
						t.Errorf("%s in mode %s: %s has links before %s", name, mode, o.Namespace, o.Path)
					}
					if was := usual.State.Get(o.Key()); was == nil {
						more++
						if want := plan.AtRest(family)[setting]; o.Value != want {
							t.Errorf("%s in mode %s: %s = %s, not %s", name, mode, o.Path, o.Value, want)
						}
					} else if was.(plan.Sysctl).Value != o.Value {
						t.Errorf("%s in mode %s: %s = %s, and on another machine %v", name, mode, o.Path, o.Value, was)
					}
				}
			}
			for _, n := range p.Cluster.Nodes {
				for _, ns := range []string{n.Namespace, n.AllPods()[0].Namespace} {
					for path := range maps.Keys(own) {
						forwards := ns == n.Namespace && path == "net/ipv4/conf/all/accept_redirects" // which the kernel sets with ip_forward
						if !forwards && !slices.Contains(set[ns], path) {
							t.Errorf("%s in mode %s: %s takes %s from the machine", name, mode, ns, path)
						}
					}
				}
			}
			if p.State.Len() != usual.State.Len()+more || more == 0 {
				t.Errorf("%s in mode %s: %d objects, on another machine %d", name, mode, p.State.Len(), usual.State.Len())
			}
		}
	}
}
