package faults

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"labnet/lab/plan"
)

// States of a drill.
const (
	Unsolved    = "unsolved"
	Solved      = "solved"       // the cause is mended, and all checks are green
	SymptomGone = "symptom gone" // all checks are green, but what the fault changed is not as it was
)

// Drill is one or several faults that somebody is to find, and how far they have come.
type Drill struct {
	Names    []string  `json:"faults"`
	Random   bool      `json:"random"` // the learner was not told which
	Seed     uint64    `json:"seed"`
	Level    int       `json:"level"` // the highest
	Mode     string    `json:"mode"`
	Started  time.Time `json:"started"`
	Hints    int       `json:"hints"`
	Attempts int       `json:"attempts"`
	Revealed bool      `json:"revealed"`
	// Causes are the objects that differed once the faults were there, side effects included.
	Causes []plan.Key `json:"causes"`
}

// New is a drill of some strikes.
func New(p *plan.Plan, seed uint64, random bool, strikes ...Strike) Drill {
	d := Drill{Random: random, Seed: seed, Mode: p.ModeName, Started: time.Now()}
	for _, s := range strikes {
		d.Names = append(d.Names, s.Name)
		d.Level = max(d.Level, s.Level)
	}
	return d
}

// Strikes are the places where the faults of a drill are.
func (d Drill) Strikes(p *plan.Plan) ([]Strike, error) {
	var all []Strike
	for _, name := range d.Names {
		f := Get(name)
		if f == nil {
			return nil, fmt.Errorf("this version of lab knows no fault %q", name)
		}
		s, ok := f.Pick(p, d.Seed)
		if !ok {
			return nil, fmt.Errorf("the fault strikes nowhere in this lab")
		}
		all = append(all, s)
	}
	return all, nil
}

// Title names a drill to its learner.
func (d Drill) Title() string {
	if d.Random && !d.Revealed {
		return "random"
	}
	return strings.Join(d.Names, "+")
}

// Grade judges a lab by what differs from its plan and by whether all checks are green. also lists what differs besides the
// cause.
func (d Drill) Grade(pending []plan.Change, green bool) (state string, cause, also []plan.Key) {
	for _, c := range pending {
		if k := c.Object.Key(); slices.Contains(d.Causes, k) {
			cause = append(cause, k)
		} else {
			also = append(also, k)
		}
	}
	switch {
	case green && len(cause) == 0:
		return Solved, cause, also
	case green:
		return SymptomGone, cause, also
	}
	return Unsolved, cause, also
}

const sealSchema = 1

// Seal writes a drill so that nobody reads its answer by accident.
func (d Drill) Seal() []byte {
	text, err := json.Marshal(d)
	if err != nil {
		panic("faults: " + err.Error()) // a drill is plain data
	}
	out, _ := json.Marshal(map[string]any{"schema": sealSchema, "sealed": base64.StdEncoding.EncodeToString(text)})
	return append(out, '\n')
}

// Open reads what Seal wrote.
func Open(text []byte) (d Drill, err error) {
	var sealed struct {
		Schema int    `json:"schema"`
		Sealed []byte `json:"sealed"`
	}
	if err := json.Unmarshal(text, &sealed); err != nil {
		return d, err
	}
	if sealed.Schema != sealSchema {
		return d, fmt.Errorf("it was written by another version of lab (schema %d)", sealed.Schema)
	}
	return d, json.Unmarshal(sealed.Sealed, &d)
}
