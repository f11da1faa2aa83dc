package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed"
)

type interfaceDocument struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	MTU       int      `json:"mtu"`
	Addresses []string `json:"addresses"`
	// Of a veth: whose the other end is, and what it is called there.
	Peer          string `json:"peer,omitempty"`
	PeerInterface string `json:"peer_interface,omitempty"`
}

// leadsOut reports whether it is one that the machine is reached by: a pod's own, or of the machine's veths one with an address.
func (i interfaceDocument) leadsOut(role string) bool {
	if role == "pod" {
		return i.Name == "eth0"
	}
	return i.Kind == "veth" && len(i.Addresses) > 0
}

type machineDocument struct {
	Name       string              `json:"name"`
	Kind       string              `json:"kind"`
	Namespace  string              `json:"namespace"`
	Datapath   plan.Datapath       `json:"datapath"`
	Shares     string              `json:"shares,omitempty"` // of a pod: the machine or pod in whose namespace it is
	Interfaces []interfaceDocument `json:"interfaces"`
}

type driftDocument struct {
	Namespace string `json:"namespace"`
	Object    string `json:"object"`
	Change    string `json:"change"`
	Line      string `json:"line"`
}

type agentDocument struct {
	Machine string          `json:"machine"`
	Name    string          `json:"name"`
	PID     int             `json:"pid"`
	Log     string          `json:"log"`
	State   json.RawMessage `json:"state,omitempty"` // as the agent says it
}

type labDocument struct {
	Name     string            `json:"name"`
	Mode     string            `json:"mode"`
	File     string            `json:"file"`
	Machines []machineDocument `json:"machines"`
	Agents   []agentDocument   `json:"agents"`
	Drift    []driftDocument   `json:"drift"`
	Impaired []impairDocument  `json:"impaired"`
	Services []serviceDocument `json:"services"`
	Note     string            `json:"note,omitempty"`
	// What CNI plugins have made.
	Delegated []delegatedDocument `json:"delegated"`

	Outputs map[string]json.RawMessage `json:"outputs"`
	outputs []lab.Output               // the same, in the order of the file
	Drill   bool                       `json:"drill,omitempty"` // one is on, and drift, which is its answer, is not shown
}

func (c *command) status() *cobra.Command {
	var ch choice
	cmd := &cobra.Command{
		Use:     "status [FILE|NAME [MACHINE]]",
		Aliases: []string{"ls", "inspect"},
		Short:   "Show running labs, their machines and interfaces, and drift",
		Long: `Shows what is really there, read from the kernel, and where that differs from the definition. Without an argument it
lists all running labs. With a machine or a pod it shows that alone, a node with its pods.`,
		Example: `  lab status
  lab status three-node
  lab status three-node worker1
  lab status three-node worker1/p1
  lab status -o json`,
		Args:              atMost(2),
		ValidArgsFunction: completeStatus,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := features("status", false)
			if err != nil {
				return err
			}
			var names []string
			if arg := first(args); arg != "" {
				name, err := c.instance(cmd, arg, ch)
				if err != nil {
					return err
				}
				names = []string{name}
			} else {
				all, err := testbed.Instances(cmd.Context())
				if err != nil {
					return err
				}
				for _, i := range all {
					names = append(names, i.Name)
				}
			}
			docs := []labDocument{}
			for _, name := range names {
				var only []string
				if len(args) == 2 {
					if only, err = c.machine(cmd, name, args[1]); err != nil {
						return err
					}
				}
				doc, err := c.inspect(cmd.Context(), name, only, f)
				if err != nil {
					return err
				}
				docs = append(docs, doc)
			}
			if c.json() {
				return c.document(map[string]any{"schema": schema, "labs": docs})
			}
			if len(docs) == 0 {
				c.say("No lab is running; \"lab up FILE\" builds one.")
				return nil
			}
			for i, d := range docs {
				if i > 0 {
					fmt.Fprintln(c.out)
				}
				c.show(d, len(args) > 0)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&ch.instance, "name", "", "the instance's `name`, where it is not the definition's")
	completeFlag(cmd, "name", runningLabs)
	ch.inputFlags(cmd)
	return cmd
}

// machine returns the namespaces of a machine and its pods, or of a pod.
func (c *command) machine(cmd *cobra.Command, labName, target string) ([]string, error) {
	place, err := testbed.OpenTarget(labName, target)
	if errors.Is(err, os.ErrNotExist) {
		return nil, c.unknownTarget(cmd, labName, target)
	}
	if err != nil {
		return nil, err
	}
	defer place.Close()
	pods, err := testbed.Named(place.Name + ".")
	return append([]string{place.Name}, pods...), err
}

// inspect reads a running lab, or some namespaces of it. Where its record is lost or damaged, or its definition no longer valid,
// only the drift stays unknown.
func (c *command) inspect(ctx context.Context, name string, only []string, f plan.Features) (labDocument, error) {
	doc := labDocument{Name: name, Machines: []machineDocument{}, Agents: []agentDocument{}, Drift: []driftDocument{}, Outputs: map[string]json.RawMessage{}, Impaired: []impairDocument{}, Services: []serviceDocument{}, Delegated: []delegatedDocument{}}
	want := &plan.State{}
	var shared map[string]string
	if r, err := testbed.Load(name); err != nil {
		doc.Note = unrecorded(err)
	} else {
		doc.Mode, doc.File, doc.Impaired = r.Mode, r.File, impairDocuments(r.Impair)
		p, err := c.running(name, f)
		switch {
		case ctx.Err() != nil:
			return doc, ctx.Err()
		case err != nil && errors.As(err, &status{}):
			doc.Note = "its definition, as recorded below /run/lab, is no longer valid; " + writesAgain
		case err != nil:
			doc.Note = err.Error()
		default:
			want, shared = p.State, p.Cluster.Shared()
			if only == nil {
				doc.Services = serviceDocuments(p.Cluster)
				doc.outputs = p.Cluster.Lab.Outputs
				if doc.Outputs, err = outputValues(doc.outputs); err != nil {
					return doc, err
				}
			}
		}
	}
	known := want.Len() > 0
	var actual *plan.State
	var err error
	if only == nil {
		actual, err = testbed.Read(ctx, name, want)
	} else if actual, err = testbed.ReadSome(ctx, name, only, want); err == nil {
		want = want.Of(only...)
	}
	if err != nil {
		return doc, err
	}
	doc.Machines = sharing(machines(actual), shared)
	doc.Delegated = delegatedDocuments(actual)
	for _, m := range doc.Machines {
		if m.Kind == "switch" || m.Kind == "pod" {
			continue
		}
		found, err := agents(m)
		if err != nil {
			return doc, err
		}
		doc.Agents = append(doc.Agents, found...)
	}
	if known && drilled(name) {
		doc.Drill = true
	} else if known {
		for _, change := range plan.Diff(actual, want) {
			k := change.Object.Key()
			for _, line := range change.Lines() {
				doc.Drift = append(doc.Drift, driftDocument{k.Namespace, strings.TrimSpace(k.Kind.String() + " " + k.Name), change.Op.String(), line})
			}
		}
	}
	return doc, nil
}

const writesAgain = "\"lab up FILE\" writes it again"

// unrecorded says why the record of a lab cannot be used.
func unrecorded(err error) string {
	if errors.Is(err, os.ErrNotExist) {
		return "its record is missing; " + writesAgain
	}
	return err.Error() + "; " + writesAgain
}

// agents asks the agents of a machine for their state. One that does not answer is listed as well.
func agents(m machineDocument) ([]agentDocument, error) {
	place, err := testbed.Open(m.Namespace)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	found, err := testbed.Agents(place)
	if err != nil {
		return nil, err
	}
	var docs []agentDocument
	for _, a := range found {
		doc := agentDocument{Machine: m.Name, Name: a.Name, PID: a.PID, Log: testbed.AgentLog(a.Namespace, a.Name)}
		if doc.State, err = a.Ask(place); err != nil {
			doc.State = nil
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// said is what an agent says for people: in one line, and in more.
func (a agentDocument) said() (text string, lines []string) {
	var said struct {
		Summary string
		Lines   []string
	}
	if json.Unmarshal(a.State, &said) != nil || said.Summary == "" {
		return "does not answer", nil
	}
	return said.Summary, said.Lines
}

func machines(s *plan.State) []machineDocument {
	byNamespace := map[string]*machineDocument{}
	datapaths := s.Datapaths()
	interfaces := map[[2]string]*interfaceDocument{}
	order := s.Namespaces()
	var objects []plan.Object
	s.Each(func(o plan.Object) {
		switch o := o.(type) {
		case plan.Namespace:
			owner, _ := plan.ParseOwner(o.Alias)
			byNamespace[o.Name] = &machineDocument{Name: owner.Machine, Kind: owner.Role, Namespace: o.Name, Datapath: datapaths[o.Name], Interfaces: []interfaceDocument{}}
		case plan.Link, plan.Address:
			objects = append(objects, o)
		}
	})
	slices.SortFunc(objects, func(a, b plan.Object) int {
		x, y := a.Key(), b.Key()
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), strings.Compare(x.Name, y.Name))
	})
	for _, o := range objects {
		switch o := o.(type) {
		case plan.Link:
			nic := &interfaceDocument{Name: o.Name, Kind: o.Type(), MTU: o.MTU, Addresses: []string{}}
			if _, far, ok := strings.Cut(o.Peer().Namespace, "."); ok {
				nic.Peer, nic.PeerInterface = strings.Replace(far, ".", "/", 1), o.Peer().Name
			}
			interfaces[[2]string{o.Namespace, o.Name}] = nic
		case plan.Address:
			if i := interfaces[[2]string{o.Namespace, o.Link}]; i != nil {
				i.Addresses = append(i.Addresses, o.Prefix.String())
			}
		}
	}
	for _, o := range objects {
		if l, ok := o.(plan.Link); ok && byNamespace[l.Namespace] != nil {
			m := byNamespace[l.Namespace]
			m.Interfaces = append(m.Interfaces, *interfaces[[2]string{l.Namespace, l.Name}])
		}
	}
	out := []machineDocument{}
	for _, ns := range order {
		slices.SortStableFunc(byNamespace[ns].Interfaces, byNamespace[ns].leadingOutFirst)
		out = append(out, *byNamespace[ns])
	}
	slices.SortStableFunc(out, func(a, b machineDocument) int { return kindRank(a) - kindRank(b) })
	return out
}

// sharing adds the pods that are in the namespace of one of the machines or pods.
func sharing(all []machineDocument, shared map[string]string) []machineDocument {
	var out []machineDocument
	for _, m := range all {
		out = append(out, m)
		for _, pod := range slices.SortedFunc(maps.Keys(shared), plan.Natural) {
			if shared[pod] == m.Name {
				out = append(out, machineDocument{Name: pod, Kind: "pod", Namespace: m.Namespace, Datapath: m.Datapath, Shares: m.Name, Interfaces: []interfaceDocument{}})
			}
		}
	}
	return out
}

// leadingOutFirst orders a machine's interfaces.
func (m machineDocument) leadingOutFirst(a, b interfaceDocument) int {
	switch x, y := a.leadsOut(m.Kind), b.leadsOut(m.Kind); {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

// kindRank puts switches first, then what is plugged into them.
func kindRank(m machineDocument) int {
	return map[string]int{"switch": 0, "node": 1, "pod": 1, "router": 2, "host": 3}[m.Kind]
}
