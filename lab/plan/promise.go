package plan

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Promise is what a definition says of something that runs in a machine or a pod: that it listens on a port, or that it runs.
type Promise struct {
	Target    string // node1, node1/p1
	Program   string // the container or process; empty: lab's responder, which answers who it is
	Namespace string // where it listens
	Protocol  string // tcp, udp; empty: nothing but that it runs is promised
	Port      int
	At        Agent // what makes it so
}

// Name is how a person names who promises: node1/p1, or node1/p1:app for a program.
func (p Promise) Name() string {
	if p.Program == "" {
		return p.Target
	}
	return p.Target + ":" + p.Program
}

// Socket is how a person writes what is promised: tcp/8080.
func (p Promise) Socket() string { return p.Protocol + "/" + strconv.Itoa(p.Port) }

// Promises lists what is promised by "serve" and "ready", and of programs without the latter that they run.
func (p *Plan) Promises() []Promise {
	var all []Promise
	p.State.Each(func(o Object) {
		a, ok := o.(Agent)
		if !ok {
			return
		}
		switch kind, _, _ := strings.Cut(a.Name, ":"); kind {
		case ResponderAgent:
			var r Responder
			if json.Unmarshal([]byte(a.Config), &r) != nil {
				return
			}
			for _, s := range r.Serves {
				for _, port := range s.Ports {
					all = append(all, Promise{Target: s.Title, Namespace: s.Namespace, At: a}.on(port))
				}
			}
		case SupervisorAgent:
			var s Supervised
			if json.Unmarshal([]byte(a.Config), &s) == nil {
				all = append(all, Promise{Target: s.Target, Program: s.Name, Namespace: s.Namespace, At: a}.on(s.Ready))
			}
		}
	})
	slices.SortStableFunc(all, func(a, b Promise) int {
		return cmp.Or(Natural(a.Target, b.Target), Natural(a.Program, b.Program))
	})
	return all
}

func (p Promise) on(socket string) Promise {
	if protocol, port, ok := strings.Cut(socket, "/"); ok {
		p.Protocol = protocol
		p.Port, _ = strconv.Atoi(port)
	}
	return p
}
