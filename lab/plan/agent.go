package plan

import (
	"encoding/json"
	"fmt"
)

// Agent is a process in a namespace that works for as long as the lab is up.
type Agent struct {
	Namespace string
	Name      string // udp, bgp: what lab agent calls it
	Config    string // what the process was started with: see [Config]
	// On is the device whose addresses it works with; the agent is started anew when that is made anew.
	On string
	// Protocol is that of the routes which are the agent's: it makes and removes them. 0: none are; see [ProtocolDaemons].
	Protocol int
	// Sets is the namespace in which it may change settings; what it changes beside the plan is its own. Empty: none.
	Sets string
	// Delegate: what appears in its namespace beside the plan is the agent's.
	Delegate bool
}

// Config is the configuration of an agent as text.
func Config(of any) string {
	b, err := json.Marshal(of)
	if err != nil {
		panic("plan: " + err.Error()) // a configuration is plain data
	}
	return string(b)
}

func (a Agent) Key() Key { return Key{a.Namespace, KindAgent, a.Name} }

func (a Agent) Parents() []Key {
	parents := []Key{{a.Namespace, KindNamespace, ""}}
	if a.On != "" {
		parents = append(parents, Key{a.Namespace, KindLink, a.On})
	}
	return parents
}

func (a Agent) Add() []string {
	return []string{fmt.Sprintf("lab agent start %s %s <<'EOF'\n%s\nEOF", a.Namespace, a.Name, a.Config)}
}

func (a Agent) Set(Object) ([]string, bool) { return nil, false }

func (a Agent) Del() []string {
	return []string{fmt.Sprintf("lab agent stop %s %s", a.Namespace, a.Name)}
}
