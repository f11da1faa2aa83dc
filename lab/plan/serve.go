package plan

import (
	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// ResponderAgent is the name of the agent that answers what a machine and its pods serve.
const ResponderAgent = "serve"

// Responder is its configuration. There is one responder a machine, and it listens in the namespaces of the pods as well.
type Responder struct {
	Serves []Serving `json:"serves"`
}

// Serving is what is served in one namespace.
type Serving struct {
	Title     string   `json:"title"` // node1/p1: whom the answers name
	Namespace string   `json:"namespace"`
	Ports     []string `json:"ports"` // tcp/8080; tcp/127.0.0.1:8080 at that address alone
}

// serving is the layer of what pods and machines serve.
type serving struct{}

func (serving) Needs(*Cluster) []Need { return nil }

func (serving) Plan(c *Cluster, s *State) hcl.Diagnostics {
	for _, m := range c.Lab.Machines {
		n := c.carriers[m]
		var r Responder
		add := func(title, namespace string, sockets []lab.Socket) {
			if len(sockets) == 0 {
				return
			}
			var ports []string
			for _, socket := range sockets {
				ports = append(ports, socket.String())
			}
			r.Serves = append(r.Serves, Serving{title, namespace, ports})
		}
		add(m.Name, n.Namespace, m.Serves)
		for _, p := range n.AllPods() {
			add(p.Title(), p.Namespace, p.Serves)
		}
		if len(r.Serves) > 0 {
			s.Add(Agent{Namespace: n.Namespace, Name: ResponderAgent, Config: Config(r)})
		}
	}
	return nil
}

// Expect: who answers changes nothing of how packets travel.
func (serving) Expect(_ Flow, e Expectation) Expectation { return e }
