package trace

import (
	"labnet/lab/packet"
)

// Schema is the version of the JSON document.
const Schema = 1

// Document is a trace as JSON.
type Document struct {
	Schema    int             `json:"schema"`
	From      string          `json:"from"`
	To        string          `json:"to"`
	Address   string          `json:"address"`
	Protocol  string          `json:"protocol"`
	Port      int             `json:"port,omitempty"`
	Size      int             `json:"size"`
	OK        bool            `json:"ok"`
	Backend   string          `json:"backend"`
	Sentences []string        `json:"sentences"`
	Hops      []HopDocument   `json:"hops"`
	Verdict   string          `json:"verdict"`
	Predicted *WalkDocument   `json:"predicted"`
	Drop      *Drop           `json:"drop"`
	Answer    *AnswerDocument `json:"answer"`
}

// WalkDocument is a predicted walk.
type WalkDocument struct {
	Disposition Disposition     `json:"disposition"`
	Hops        []HopDocument   `json:"hops"`
	Drop        *Drop           `json:"drop"`
	Answer      *AnswerDocument `json:"answer,omitempty"`
}

// AnswerDocument is the way back.
type AnswerDocument struct {
	OK   bool          `json:"ok"`
	Hops []HopDocument `json:"hops"`
	Drop *Drop         `json:"drop"`
}

// HopDocument is a hop.
type HopDocument struct {
	Machine   string          `json:"machine"`
	Namespace string          `json:"namespace"`
	Device    string          `json:"device"`
	Direction Direction       `json:"direction"`
	Time      float64         `json:"time_us"`
	Headers   []packet.Header `json:"headers"`
	Decision  *Decision       `json:"decision"`
	Command   string          `json:"command"`
}

// Document returns the trace as JSON has it.
func (t *Trace) Document() Document {
	d := Document{
		Schema: Schema, From: t.From, To: t.To, Address: t.Address, Protocol: t.Protocol, Port: t.Port, Size: t.Size,
		OK: t.OK(), Backend: t.Backend, Sentences: t.Sentences(), Verdict: t.Verdict(), Hops: hops(t.There), Drop: t.There.Drop, Answer: answer(t.Back, t.Answered),
	}
	if p := t.Predicted; p != nil {
		d.Predicted = &WalkDocument{p.There.Disposition, hops(p.There), p.There.Drop, answer(p.Back, p.Back != nil && p.Back.Disposition == Arrived)}
	}
	return d
}

func answer(w *Walk, ok bool) *AnswerDocument {
	if w == nil {
		return &AnswerDocument{Hops: []HopDocument{}}
	}
	return &AnswerDocument{ok, hops(*w), w.Drop}
}

func hops(w Walk) []HopDocument {
	list := []HopDocument{}
	for _, h := range w.Hops {
		headers := append([]packet.Header{}, h.Headers...)
		list = append(list, HopDocument{h.Machine, h.Namespace, h.Device, h.Direction, float64(h.Time.Nanoseconds()) / 1e3, headers, h.Decision, h.Command})
	}
	return list
}
