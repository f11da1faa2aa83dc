package report

import "slices"

// metric is what the reports know of a metric. One that has no row is shown under its own name, less of it is better, and it
// is what its measurement was made for only where there is nothing else.
type metric struct {
	name, title string
	unit        string // where all measures have the same
	more        bool   // more is better
	leads       bool   // measurements are made for its sake: for the first row that they have
	overview    bool   // shown beside what leads
	bounded     bool   // cannot be more than over loopback
	processor   bool   // time of the processors
}

// metrics are all that are more than a number with a name, in the order in which they lead.
var metrics = []metric{
	{name: "round trip", unit: "ns", leads: true},
	{name: "set-up", unit: "ns", leads: true},
	{name: "p50", unit: "µs", leads: true},
	{name: "goodput", unit: "Gbit/s", more: true, leads: true, bounded: true},
	{name: "delivered", unit: "1/s", more: true, leads: true},
	{name: "packets", unit: "1/s", more: true, leads: true, bounded: true},
	{name: "rate", title: "transactions", unit: "1/s", more: true, leads: true},
	{name: "p99", unit: "µs", overview: true},
	{name: "loss", unit: "%", overview: true},
	{name: "cpu", title: "CPU time", overview: true, processor: true},
}

// of returns what is known of a metric.
func of(name string) metric {
	if i := slices.IndexFunc(metrics, func(m metric) bool { return m.name == name }); i >= 0 {
		return metrics[i]
	}
	return metric{name: name}
}

// called is what people call a metric.
func (m metric) called() string {
	if m.title != "" {
		return m.title
	}
	return m.name
}

// leadsOver reports whether a measurement was made for one metric rather than for another.
func leadsOver(name, other string) bool {
	place := func(name string) int {
		return slices.IndexFunc(metrics, func(m metric) bool { return m.name == name && m.leads })
	}
	at, than := place(name), place(other)
	return at >= 0 && (than < 0 || at < than)
}

// leading reports whether measurements are made for a metric's sake.
func leading(name string) bool { return of(name).leads }

// MoreIsBetter reports whether the better of two values of the metric is the larger one.
func MoreIsBetter(name string) bool { return of(name).more }

// Unit is that of a metric which has the same one wherever it is measured.
func Unit(name string) string { return of(name).unit }
