package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"labnet/lab"
)

// show prints a lab for people; whole is without leaving out what is much.
func (c *command) show(d labDocument, whole bool) {
	mode := ""
	if d.Mode != "" {
		used := map[string]bool{}
		for _, m := range d.Machines {
			if m.Kind == string(lab.Node) {
				used[string(m.Datapath)] = true
			}
		}
		mode = "  mode " + d.Mode + inDatapath(strings.Join(slices.Sorted(maps.Keys(used)), "+"))
	}
	room := width(c.out)
	fmt.Fprintln(c.out, hang(d.Name+mode, room, 2))
	pods := map[string][]machineDocument{}
	var top []machineDocument
	for _, m := range d.Machines {
		node, _, pod := strings.Cut(m.Name, "/")
		if pod && len(d.Machines) > 1 {
			pods[node] = append(pods[node], m)
		} else {
			top = append(top, m)
		}
	}
	var rows []row
	for i, m := range top {
		branch, stem := "├─ ", "│  "
		if i == len(top)-1 {
			branch, stem = "└─ ", "   "
		}
		own := pods[m.Name]
		below := stem
		if len(own) > 0 {
			below += "│"
		}
		rows = append(rows, lines(branch+m.Name, below, m)...)
		if len(d.Machines) > 40 && !whole && len(own) > 0 {
			rows = append(rows, row{cells: []string{fmt.Sprintf("%s└─ %d pods", stem, len(own)), ""}})
			continue
		}
		for j, p := range own {
			twig, under := "├─ ", "│  "
			if j == len(own)-1 {
				twig, under = "└─ ", "   "
			}
			rows = append(rows, lines(stem+twig+p.Name[strings.IndexByte(p.Name, '/')+1:], stem+under, p)...)
		}
	}
	fmt.Fprint(c.out, columns(rows, room))
	if len(d.Agents) > 0 {
		fmt.Fprintln(c.out, "Agents:")
		rows = nil
		for i, a := range d.Agents {
			if i == 20 && !whole {
				rows = append(rows, row{cells: []string{fmt.Sprintf("  … and %d more", len(d.Agents)-i), "", "", ""}})
				break
			}
			text, more := a.said()
			rows = append(rows, row{cells: []string{"  " + a.Machine, a.Name, fmt.Sprintf("process %d", a.PID), text}})
			if !whole || len(d.Agents)*len(more) > 200 {
				continue
			}
			for _, l := range more {
				rows = append(rows, row{cells: []string{"", "", "", l}, below: "  "})
			}
		}
		fmt.Fprint(c.out, columns(rows, room))
	}
	showServices(c.out, d.Services)
	showDelegated(c.out, d.Delegated, room, whole)
	showOutputs(c.out, d.outputs)
	if d.Drill {
		fmt.Fprintln(c.out, hang("A drill is on: what has drifted is its answer, and not shown.", room, 2))
	}
	if len(d.Impaired) > 0 {
		rows = nil
		for _, i := range d.Impaired {
			rows = append(rows, row{cells: []string{"  " + i.Link, i.Impair}})
		}
		fmt.Fprintln(c.out, hang("Impaired by \"lab impair\"; \"lab up --reset\" undoes it:", room, 2))
		fmt.Fprint(c.out, columns(rows, room))
	}
	if d.Note != "" {
		fmt.Fprintln(c.out, hang("Drift is unknown: "+d.Note+".", room, 2))
	}
	if n := len(d.Drift); n > 0 {
		changes := map[[2]string]bool{} // one may take several lines
		for _, drift := range d.Drift {
			changes[[2]string{drift.Namespace, drift.Object}] = true
		}
		fmt.Fprintf(c.out, "Drift: \"lab up\" would make %s:\n", count(len(changes), "change"))
		for i, drift := range d.Drift {
			if i == 20 && !whole {
				fmt.Fprintf(c.out, "  … and %d more; \"lab plan\" shows all\n", n-i)
				break
			}
			fmt.Fprintln(c.out, "  "+drift.Line)
		}
		c.sayWhereToType()
	}
}

// lines are a machine with the interfaces that have something to say: a node's ends of its pods' veths are named where the
// pods are, as ip(8) would: eth0@veth1a2b3c4d.
func lines(label, below string, m machineDocument) (rows []row) {
	if m.Kind == "switch" {
		ports := 0
		for _, nic := range m.Interfaces {
			if nic.Kind == "veth" {
				ports++
			}
		}
		return []row{{cells: []string{label, m.Kind, fmt.Sprintf("%d ports", ports), "", ""}, below: below}}
	}
	kind := m.Kind
	if m.Shares != "" {
		return []row{{cells: []string{label, kind, "in " + m.Shares, "", ""}, below: below}}
	}
	for _, nic := range m.Interfaces {
		if pods := strings.HasPrefix(nic.Peer, m.Name+"/"); nic.Kind == "veth" && (pods || len(nic.Addresses) == 0 && m.Kind != "pod") {
			continue
		}
		name := nic.Name
		if m.Kind == "pod" && nic.Peer != "" {
			name += "@" + nic.PeerInterface
		}
		rows = append(rows, row{cells: []string{label, kind, name, fmt.Sprintf("mtu %d", nic.MTU), strings.Join(nic.Addresses, " ")}, below: below})
		label, kind = below, ""
	}
	if kind != "" {
		rows = append(rows, row{cells: []string{label, kind, "lo", "", ""}, below: below})
	}
	return rows
}
