package faults

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"labnet/lab/plan"
)

// everywhere are all modes: what runs in a pod depends on none.
var everywhere = []string{"host-gw", "vxlan", "ipip", "udp", "bgp", "macvlan", "vlan", "ipvlan"}

// responders strikes what a machine or a pod serves: use changes its ports, and says where that is seen.
func (s *scene) responders(use func(of *plan.Serving, taken map[int]bool) Strike) (all []Strike) {
	for _, a := range find(s, func(a plan.Agent) bool { return a.Name == plan.ResponderAgent }) {
		var whole plan.Responder
		if json.Unmarshal([]byte(a.Config), &whole) != nil {
			continue
		}
		for i := range whole.Serves {
			r := plan.Responder{Serves: slices.Clone(whole.Serves)}
			of := &r.Serves[i]
			of.Ports = slices.Clone(of.Ports)
			strike := use(of, s.promised(of.Namespace))
			strike.Machine = of.Title
			broken := a
			broken.Config = plan.Config(r)
			strike.put = []plan.Object{broken}
			all = append(all, strike)
		}
	}
	return all
}

// promised are the ports that somebody in a namespace has.
func (s *scene) promised(namespace string) map[int]bool {
	ports := map[int]bool{}
	for _, p := range s.Promises() {
		if p.Namespace == namespace {
			ports[p.Port] = true
		}
	}
	return ports
}

// sockets is the command that shows who listens on a port.
func sockets(port string) string {
	if strings.HasPrefix(port, "udp/") {
		return "ss -lun"
	}
	return "ss -ltn"
}

var portOther = &Fault{
	Name: "wrong-port", Level: 1, Modes: everywhere, Red: "serve", Lab: "services",
	About:       "what a pod serves is on another port",
	Teach:       "a connection is refused by the machine that was asked, where nothing listens on the port",
	Story:       "Since its last change everybody is refused by {machine}. It can be pinged, and its program runs.",
	Layer:       "The question reaches {machine}, which refuses it. On which ports does something listen there?",
	Explanation: "The program of {machine} listened on another port than the one at which it is asked. Where nothing listens the kernel refuses.",
	strikes: func(s *scene) []Strike {
		return s.responders(func(of *plan.Serving, taken map[int]bool) Strike {
			protocol, digits, _ := strings.Cut(of.Ports[0], "/")
			port, _ := strconv.Atoi(digits)
			for taken[port] {
				port = port%65535 + 1
			}
			look := sockets(of.Ports[0])
			of.Ports[0] = fmt.Sprintf("%s/%d", protocol, port)
			return Strike{Look: look, Shows: fmt.Sprintf(":%d ", port)}
		})
	},
}

var loOnly = &Fault{
	Name: "listens-on-lo", Level: 2, Modes: everywhere, Red: "serve", Lab: "services",
	About:       "what a pod serves listens on 127.0.0.1 alone",
	Teach:       "a program is reached at the addresses that it listens on, and every machine has a lo of its own",
	Story:       "Everybody is refused by {machine}. Whoever tries it there, with localhost, says that it works.",
	Layer:       "The port is the right one. At which of the addresses of {machine} does something listen on it?",
	Explanation: "The program of {machine} listened on 127.0.0.1, its lo, and not at the address at which others ask.",
	strikes: func(s *scene) []Strike {
		return s.responders(func(of *plan.Serving, _ map[int]bool) Strike {
			look := sockets(of.Ports[0])
			for i, port := range of.Ports {
				of.Ports[i] = strings.Replace(port, "/", "/127.0.0.1:", 1)
			}
			_, at, _ := strings.Cut(of.Ports[0], "/")
			return Strike{Look: look, Shows: at}
		})
	},
}

// unknown is an option that no program has.
const unknown = "--no-such-option"

var crashed = &Fault{
	Name: "container-crashed", Level: 1, Modes: everywhere, Red: "ready", Lab: "docker-networks",
	About:       "a program ends as soon as it is started",
	Teach:       "a program that ends is started again, ever later, and why it ended is in its log",
	Story:       "{other} has done nothing since its last change. Nothing is wrong with the network.",
	Layer:       "Does it run, and how often was it started again? What did it say before it ended?",
	Explanation: "{other} was started with an option that it does not know. It said so and ended, was started again, and ended again.",
	strikes: func(s *scene) (all []Strike) {
		for _, a := range find(s, func(a plan.Agent) bool { return strings.HasPrefix(a.Name, plan.SupervisorAgent+":") }) {
			var c plan.Supervised
			if json.Unmarshal([]byte(a.Config), &c) != nil {
				continue
			}
			name := c.Target + ":" + c.Name
			c.Command = slices.Insert(slices.Clone(c.Command), 1, unknown)
			a.Config = plan.Config(c)
			all = append(all, Strike{Machine: c.Target, Other: name, Log: name, Shows: "option", put: []plan.Object{a}})
		}
		return all
	},
}
