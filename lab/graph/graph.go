// Package graph draws a lab: switches, the machines on them, their pods, the links between them, and what a mode lays over
// these: tunnels and BGP sessions. It draws what a plan wants or, of a running lab, what was found, with what is down and
// what has drifted marked. The same [Picture] becomes SVG, for which no program is needed, and Mermaid's text.
package graph

import "slices"

// Picture is what is drawn.
type Picture struct {
	Lab      string    `json:"lab"`
	Mode     string    `json:"mode"`
	Running  bool      `json:"running"`        // it is what was found
	Note     string    `json:"note,omitempty"` // why drift is not known
	Switches []Switch  `json:"switches"`
	Machines []Machine `json:"machines"` // in the order of the definition
	Overlays []Net     `json:"overlays"`
	Sessions []Net     `json:"sessions"` // of BGP
	Drift    []string  `json:"drift"`    // the commands that would repair it
}

// Mark says what is wrong with a part of a running lab.
type Mark string

const (
	Fine    Mark = ""
	Changed Mark = "changed" // it is not as it is wanted
	Foreign Mark = "foreign" // nobody wants it
	Down    Mark = "down"
	Missing Mark = "missing"
)

var marks = []Mark{Fine, Changed, Foreign, Down, Missing}

// worst is the mark that says most.
func worst(all ...Mark) Mark {
	at := 0
	for _, m := range all {
		at = max(at, slices.Index(marks, m))
	}
	return marks[at]
}

// cut reports whether nothing passes.
func (m Mark) cut() bool { return m == Down || m == Missing }

// Switch is a segment of the underlay, or several that VLANs keep apart.
type Switch struct {
	Name    string   `json:"name"`
	Subnets []string `json:"subnets"` // "10.0.0.0/24", "VLAN 10: 10.0.1.0/24"
	MTU     int      `json:"mtu,omitempty"`
	Impair  string   `json:"impair,omitempty"` // where all of its links are impaired alike
	Mark    Mark     `json:"mark,omitempty"`
	Drift   []string `json:"drift,omitempty"`
}

// Machine is a node, a router or a host.
type Machine struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"`
	Datapath string   `json:"datapath,omitempty"` // where it is not the kernel's
	Devices  []Device `json:"devices"`
	Pods     []Pod    `json:"pods"`
	Mark     Mark     `json:"mark,omitempty"`
	Drift    []string `json:"drift,omitempty"` // what is no device's
}

// Device is a network device of a machine or a pod.
type Device struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind"` // what ip(8) calls its type
	MTU       int       `json:"mtu,omitempty"`
	Addresses []Address `json:"addresses"`
	Encap     string    `json:"encapsulation,omitempty"`
	Impair    string    `json:"impair,omitempty"`
	Mark      Mark      `json:"mark,omitempty"`
	Drift     []string  `json:"drift,omitempty"`

	// Of one that is plugged into a switch:
	Switch string `json:"switch,omitempty"`
	Port   string `json:"port,omitempty"`
	VLAN   string `json:"vlan,omitempty"`
	Link   Mark   `json:"link,omitempty"` // what is wrong with the link, at either end
}

// Address is an address of a device.
type Address struct {
	Text string `json:"address"`
	Mark Mark   `json:"mark,omitempty"`
}

// Pod is a pod of a node.
type Pod struct {
	Name    string   `json:"name"`
	Devices []Device `json:"devices"`
	Via     string   `json:"via,omitempty"` // the node's device that it hangs on; none where the node routes to a veth of its own
	Veth    string   `json:"veth,omitempty"`
	Link    Mark     `json:"link,omitempty"`
	Mark    Mark     `json:"mark,omitempty"`
	Drift   []string `json:"drift,omitempty"`
}

// worst is the worst of what is wrong with the pod.
func (p Pod) worst() Mark {
	m := worst(p.Mark, p.Link)
	for _, d := range p.Devices {
		m = worst(m, d.Mark)
	}
	return m
}

// Net is what connects machines over the underlay: the tunnels of one kind, or the sessions of BGP.
type Net struct {
	Kind    string   `json:"kind"`    // vxlan, ipip, udp, bgp
	Name    string   `json:"name"`    // for people: "vxlan, VNI 1, UDP port 8472"
	Members []string `json:"members"` // machines
	Pairs   []Pair   `json:"pairs"`
}

// Pair is a tunnel or a session between two members.
type Pair struct {
	A    string `json:"a"`
	B    string `json:"b"`
	Mark Mark   `json:"mark,omitempty"`
}

// Layers are what a picture can leave out.
var Layers = []string{"underlay", "pods", "overlay", "bgp"}

// Only leaves out the layers that are not among those.
func (p *Picture) Only(layers []string) {
	if !slices.Contains(layers, "overlay") {
		p.Overlays = nil
	}
	if !slices.Contains(layers, "bgp") {
		p.Sessions = nil
	}
	if !slices.Contains(layers, "underlay") {
		p.Switches = nil
	}
	for i := range p.Machines {
		m := &p.Machines[i]
		if !slices.Contains(layers, "pods") {
			m.Pods = nil
		}
		if !slices.Contains(layers, "underlay") {
			for j := range m.Devices {
				m.Devices[j].Switch = ""
			}
		}
	}
}
