package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"labnet/lab/plan"
)

// delegatedDocument is something that CNI plugins or daemons have made: it is theirs.
type delegatedDocument struct {
	Machine string `json:"machine"`
	Object  string `json:"object"`
}

// delegatedDocuments lists it, machine by machine.
func delegatedDocuments(actual *plan.State) []delegatedDocument {
	docs := []delegatedDocument{}
	for _, ns := range actual.Namespaces() {
		_, machine, _ := strings.Cut(ns, ".")
		var here []plan.Key
		actual.In(ns, func(o plan.Object) {
			if actual.Entrusted(o.Key()) {
				here = append(here, o.Key())
			}
		})
		slices.SortFunc(here, func(a, b plan.Key) int {
			if a.Kind != b.Kind {
				return int(a.Kind) - int(b.Kind)
			}
			return plan.Natural(a.Name, b.Name)
		})
		for _, k := range here {
			docs = append(docs, delegatedDocument{strings.Replace(machine, ".", "/", 1), k.Kind.String() + " " + k.Name})
		}
	}
	return docs
}

// showDelegated prints it; whole is each object, else how many of each machine.
func showDelegated(out io.Writer, docs []delegatedDocument, room int, whole bool) {
	if len(docs) == 0 {
		return
	}
	fmt.Fprintln(out, "Made by plugins and daemons:")
	var rows []row
	for len(docs) > 0 {
		n := 1
		for n < len(docs) && docs[n].Machine == docs[0].Machine {
			n++
		}
		var objects []string
		for _, d := range docs[:n] {
			objects = append(objects, d.Object)
		}
		text := strings.Join(objects, ", ")
		if !whole {
			text = count(n, "object")
		}
		rows = append(rows, row{cells: []string{"  " + docs[0].Machine, text}})
		docs = docs[n:]
	}
	fmt.Fprint(out, columns(rows, room))
}
