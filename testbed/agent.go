package testbed

import (
	"slices"

	"labnet/lab/plan"
)

var agentKind = inside[plan.Agent]{
	reads: readAgents,
	sets: func(a *applier, v *visit, o, _ plan.Agent) error {
		if err := v.step(); err != nil {
			return err
		}
		return StartAgent(a.ctx, o)
	},
	removes: func(_ *applier, v *visit, o plan.Agent) error {
		if err := v.step(); err != nil {
			return err
		}
		return StopAgent(o.Namespace, o.Name)
	},
}

// readAgents reads the agents of a machine; switches and pods have none.
func readAgents(r *reader, v *visit, f *found) error {
	if !f.machine {
		return nil
	}
	if err := v.step(); err != nil {
		return err
	}
	running, err := agents(v.place.Name)
	if err != nil {
		return err
	}
	for _, a := range running {
		o := plan.Agent{Namespace: a.Namespace, Name: a.Name, Config: "started with " + a.Started}
		if wanted, ok := r.want.Get(o.Key()).(plan.Agent); ok {
			o.On = wanted.On
			if fingerprint(wanted) == a.Started {
				o = wanted
			}
		}
		if slices.ContainsFunc(f.objects, func(other plan.Object) bool { return other.Key() == o.Key() }) {
			continue // two of them; the first is as good as the other, and removing it ends both
		}
		f.add(o)
	}
	return nil
}
