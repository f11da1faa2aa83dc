package plan

import "fmt"

// Qdisc is the root queueing discipline of a link, or its clsact, where programs are attached.
type Qdisc struct {
	Namespace, Link string
	Type            string // tbf, netem; netem with a rate shapes by itself
	Rate            uint64 // bit/s
	Burst           uint32 // tbf: bytes
	Limit           uint32 // tbf: bytes; netem: packets
	DelayUS         uint32
	JitterUS        uint32
	LossPPM         uint32 // millionths
}

// ingress reports whether it is the one that a link can have besides its root.
func (q Qdisc) ingress() bool { return q.Type == "ingress" || q.Type == "clsact" }

func (q Qdisc) Key() Key {
	if q.ingress() {
		return Key{q.Namespace, KindQdisc, q.Link + " " + q.Type}
	}
	return Key{q.Namespace, KindQdisc, q.Link}
}
func (q Qdisc) Parents() []Key { return []Key{{q.Namespace, KindLink, q.Link}} }
func (q Qdisc) Add() []string {
	if q.ingress() {
		return []string{fmt.Sprintf("tc -n %s qdisc add dev %s %s", q.Namespace, q.Link, q.Type)}
	}
	s := fmt.Sprintf("tc -n %s qdisc replace dev %s root handle 1: %s", q.Namespace, q.Link, q.Type)
	switch q.Type {
	case "tbf":
		s += fmt.Sprintf(" rate %dbit burst %d limit %d", q.Rate, q.Burst, q.Limit)
	case "netem":
		s += fmt.Sprintf(" limit %d", q.Limit)
		if q.DelayUS > 0 {
			s += fmt.Sprintf(" delay %dus", q.DelayUS)
			if q.JitterUS > 0 {
				s += fmt.Sprintf(" %dus", q.JitterUS)
			}
		}
		if q.LossPPM > 0 {
			s += fmt.Sprintf(" loss %g%%", float64(q.LossPPM)/1e4)
		}
		if q.Rate > 0 {
			s += fmt.Sprintf(" rate %dbit", q.Rate)
		}
	}
	return []string{s}
}

// Set does not apply to netem: what a change does not mention, as a rate, stays as it was.
func (q Qdisc) Set(before Object) ([]string, bool) {
	return q.Add(), q.Type == before.(Qdisc).Type && q.Type != "netem"
}
func (q Qdisc) Del() []string {
	if q.ingress() {
		return []string{fmt.Sprintf("tc -n %s qdisc del dev %s %s", q.Namespace, q.Link, q.Type)}
	}
	return []string{fmt.Sprintf("tc -n %s qdisc del dev %s root", q.Namespace, q.Link)}
}
