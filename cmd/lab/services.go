package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"labnet/lab/plan"
)

// serviceDocument is a service as programs read it.
type serviceDocument struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Addresses []string `json:"addresses"`
	Ports     []string `json:"ports"`
	Endpoints []string `json:"endpoints"`
}

// serviceDocuments lists the services as they are wanted; drift says where a node does not have them so.
func serviceDocuments(c *plan.Cluster) []serviceDocument {
	docs := []serviceDocument{}
	if c.Lab.Services == nil {
		return docs
	}
	ports := c.ServicePorts()
	for _, s := range c.Lab.Services.All {
		doc := serviceDocument{Name: s.Name, Type: s.Type, Addresses: []string{}, Ports: []string{}, Endpoints: []string{}}
		for _, a := range s.Addresses() {
			doc.Addresses = append(doc.Addresses, a.String())
		}
		if s.External.IsValid() {
			doc.Addresses = append(doc.Addresses, s.External.String())
		}
		for _, p := range ports[:len(s.Ports)] {
			text := fmt.Sprintf("%d/%s", p.Port, p.Protocol)
			if p.NodePort != 0 {
				text = fmt.Sprintf("%d:%d/%s", p.Port, p.NodePort, p.Protocol)
			}
			doc.Ports = append(doc.Ports, text)
			for _, e := range p.Endpoints {
				doc.Endpoints = append(doc.Endpoints, e.String())
			}
		}
		ports = ports[len(s.Ports):]
		docs = append(docs, doc)
	}
	return docs
}

func showServices(out io.Writer, all []serviceDocument) {
	for _, s := range all {
		fmt.Fprintf(out, "  service %s  %s  %s → %s\n", s.Name, strings.Join(append([]string{s.Type}, s.Addresses...), "  "), strings.Join(s.Ports, " "),
			cmp.Or(strings.Join(s.Endpoints, " "), "no endpoints"))
	}
}
