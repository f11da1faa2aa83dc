package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// SupervisorAgent begins the names of the agents that run programs, one for each: run:bird in a machine, run:p1:app for the
// container app of a pod.
const SupervisorAgent = "run"

// Supervised is the configuration of one.
type Supervised struct {
	Target       string            `json:"target"` // node1, node1/p1
	Name         string            `json:"name"`
	Namespace    string            `json:"namespace"`
	Command      []string          `json:"command"`
	Env          map[string]string `json:"env,omitempty"`
	User         string            `json:"user,omitempty"`
	Restart      string            `json:"restart"`
	Ready        string            `json:"ready,omitempty"` // tcp/8080: it is ready once it listens there
	Capabilities []string          `json:"capabilities,omitempty"`
	Memory       int64             `json:"memory,omitempty"` // bytes
	CPUs         float64           `json:"cpus,omitempty"`
	PIDs         int               `json:"pids,omitempty"`
}

// running is the layer of programs in machines and pods.
type running struct{}

// Needs: a limit that does not hold would be none.
func (running) Needs(c *Cluster) []Need {
	var needs []Need
	c.Lab.Each(func(target string, p *lab.Process) {
		for _, l := range []struct {
			feature Feature
			name    string
			given   bool
		}{{FeatureMemory, "memory", p.Limits.Memory > 0}, {FeatureCPU, "cpus", p.Limits.CPUs > 0}, {FeaturePIDs, "pids", p.Limits.PIDs > 0}} {
			if l.given {
				needs = append(needs, Need{Feature: l.feature, By: fmt.Sprintf("%q of %s:%s", l.name, target, p.Name), At: p.At.Of(l.name, p.Range)})
			}
		}
	})
	return needs
}

func (running) Plan(c *Cluster, s *State) hcl.Diagnostics {
	for _, m := range c.Lab.Machines {
		n := c.carriers[m]
		add := func(target, namespace string, all []*lab.Process) {
			for _, p := range all {
				name := []string{SupervisorAgent, p.Name}
				if _, pod, ok := strings.Cut(target, "/"); ok {
					name = []string{SupervisorAgent, pod, p.Name}
				}
				config := Supervised{
					Target: target, Name: p.Name, Namespace: namespace, Command: p.Command, Env: p.Env, User: p.User, Restart: p.Restart, Capabilities: p.Capabilities,
					Memory: p.Limits.Memory, CPUs: p.Limits.CPUs, PIDs: p.Limits.PIDs,
				}
				if p.Ready != nil {
					config.Ready = p.Ready.String()
				}
				a := Agent{Namespace: n.Namespace, Name: strings.Join(name, ":"), Config: Config(config)}
				if slices.Contains(p.Capabilities, "NET_ADMIN") {
					a.Sets = namespace
					if namespace == n.Namespace { // it may be a routing daemon
						a.Protocol, a.Delegate = ProtocolDaemons, p.Delegate
					}
				}
				s.Add(a)
			}
		}
		add(m.Name, n.Namespace, m.Processes)
		for _, p := range n.AllPods() {
			add(p.Title(), p.Namespace, p.Processes)
		}
	}
	return nil
}

// Expect: what runs changes nothing of how packets travel.
func (running) Expect(_ Flow, e Expectation) Expectation { return e }
