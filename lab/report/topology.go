package report

import (
	"html/template"

	"labnet/lab/graph"
)

// picture draws a lab as far as a recording knows it.
func (t Topology) picture(name string) template.HTML {
	p := graph.Picture{Lab: name}
	for _, s := range t.Switches {
		p.Switches = append(p.Switches, graph.Switch{Name: s.Name, Subnets: s.Subnets})
	}
	for _, m := range t.Machines {
		drawn := graph.Machine{Name: m.Name, Kind: m.Kind}
		for i, s := range m.Switches {
			d := graph.Device{Switch: s}
			if i == 0 && m.Address != "" {
				d.Addresses = []graph.Address{{Text: m.Address}}
			}
			drawn.Devices = append(drawn.Devices, d)
		}
		for _, pod := range m.Pods {
			drawn.Pods = append(drawn.Pods, graph.Pod{Name: pod.Name, Devices: []graph.Device{{Addresses: []graph.Address{{Text: pod.Address}}}}})
		}
		p.Machines = append(p.Machines, drawn)
	}
	return template.HTML(p.Fragment())
}
