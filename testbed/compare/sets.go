package compare

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"labnet/lab"
	"labnet/testbed/traffic"
)

// The sets of measures.
const (
	Quick    = "quick"    // a first look
	Default  = "default"  // path cost, and whether capacity orders the modes alike
	Thorough = "thorough" // capacity ranks them too, within the hour
	Full     = "full"     // everything there is
)

// lifecycle is the measure of what is no traffic: see life.go.
const lifecycle = "lifecycle"

// Wire is a model of the links between machines. Numbers of different ones are never compared.
type Wire struct {
	Name  string
	Model string // of [lab.Wires]
	Rate  uint64 // bit/s; 0 is as fast as it goes
	about string
}

// shaped is the wire model for the self-check.
const shaped = "shaped"

// Wires are the wire models, the one that ranks first.
var Wires = []Wire{
	{"nic", lab.WireNIC, 0, "Packets are cut to the MTU where they leave for the wire, behind a queue, and merged again where they arrive, as network cards do."},
	{"bare", lab.WireBare, 0, "Packets are cut to the MTU and not merged, so that each is paid for alone, in the tunnel too."},
	{"super", lab.WireSuper, 0, "veth as it is: nothing is ever cut, so that 64 KB of TCP cost as much as one packet."},
	{shaped, lab.WireNIC, 200e6, "As nic, at a rate that every mode can fill: what is left between modes is arithmetic."},
}

// A cell is one kind of measurement.
type cell struct {
	wire, path string
	measure
}

// choice is a measure, and the paths along which each set has it.
type choice struct {
	measure
	quick, standard, thorough, full string
}

func (c choice) paths(set string) []string {
	return strings.Fields(map[string]string{Quick: c.quick, Default: c.standard, Thorough: c.thorough, Full: c.full}[set])
}

const (
	across    = crossNode
	hosts     = hostHost + " " + crossNode
	within    = sameNode + " " + crossNode
	withHosts = hostHost + " " + sameNode + " " + crossNode
	anywhere  = hostHost + " " + sameNode + " " + crossNode + " " + nodePod + " " + podNode
)

// choices are all measures in the order in which they are taken; of those that share a name the first is its main one.
var choices = append([]choice{
	{stream("streams=1", traffic.Streams{}), across, across, withHosts, anywhere},
	{stream("streams=4", traffic.Streams{Count: 4}), "", across, across, anywhere},
	{stream("streams=1 reverse", traffic.Streams{Direction: traffic.Reverse}), "", "", "", across},
	{stream("streams=4 both ways", traffic.Streams{Count: 4, Direction: traffic.Both}), "", "", "", across},
	{requests("tcp-rr", "request=1 response=1", traffic.Requests{}), withHosts, hosts, anywhere, anywhere},
	{requests("udp-rr", "request=64 response=64", traffic.Requests{Protocol: traffic.UDP, Size: 64, Reply: 64}), "", "", across, anywhere},
	{requests("udp-rr", "request=1400 response=64", traffic.Requests{Protocol: traffic.UDP, Size: 1400, Reply: 64}), "", "", "", within},
	{requests("udp-rr", "request=64 response=64 depth=16", traffic.Requests{Protocol: traffic.UDP, Size: 64, Reply: 64, Depth: 16}), "", "", "", within},
	{connections(), "", "", across, anywhere},
	{highest(64), "", "", across, withHosts},
	{highest(512), "", "", "", across},
	{highest(1400), "", "", "", across},
	{offered(1400, 20_000), "", "", "", anywhere},
	{loaded(), across, "", across, within},
	{scheduled(2000), "", "", across, anywhere},
	{oneWay(64, 1000), "", "", across, anywhere},
}, serviceChoices()...)

// Measures lists the measures by name, in the order in which they are taken.
var Measures = func() []string {
	var names []string
	for _, c := range choices {
		if !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return append(names, Programming, pathCost, lifecycle)
}()

// Builds reports whether a measure needs instances of its own.
func Builds(measure string) bool {
	return measure == pathCost || measure == lifecycle || measure == Programming
}

// cells lists what is measured. Where paths or measures were chosen, what was not chosen is left out, and what was chosen
// both ways is measured though the set has it not. The first wire model has the whole set, the others what tells them apart.
func (c *Config) cells() []cell {
	chosen := func(name string, of []string) bool { return len(of) == 0 || slices.Contains(of, name) }
	var all []cell
	for w, wire := range c.Wires {
		for i, ch := range choices {
			if !chosen(ch.name, c.Measures) || OfServices(ch.name) && len(c.Measures) == 0 {
				continue
			}
			main := slices.IndexFunc(choices, func(o choice) bool { return o.name == ch.name }) == i
			of := ch.paths(c.Set)
			switch {
			case wire.Name == shaped:
				if of = nil; main && ch.name == "tcp-stream" {
					of = []string{crossNode}
				}
			case OfServices(ch.name):
				if of = nil; w == 0 {
					of = []string{crossNode}
				}
			case w > 0 && c.Set != Full:
				if of = nil; main && (ch.name == "tcp-rr" || len(c.Measures) > 0) {
					of = []string{hostHost, crossNode}
				} else if main && ch.name == "tcp-stream" {
					of = []string{crossNode}
				}
			case main && len(c.Measures) > 0 && len(c.Paths) > 0:
				of = c.Paths
			case main && len(c.Measures) > 0 && len(of) == 0:
				of = []string{crossNode}
			}
			if c.From != nil {
				if slices.Contains(of, crossNode) {
					all = append(all, cell{wire.Name, betweenEnds, ch.measure})
				}
				continue
			}
			for _, path := range Paths {
				if slices.Contains(of, path) && chosen(path, c.Paths) {
					all = append(all, cell{wire.Name, path, ch.measure})
				}
			}
		}
	}
	// The control belongs to every comparison.
	if len(all) > 0 && !c.Stands && !slices.ContainsFunc(all, func(x cell) bool { return x.path == hostHost && x.wire == c.Wires[0].Name }) {
		control := all[0].measure
		if OfServices(control.name) {
			control = choices[slices.IndexFunc(choices, func(ch choice) bool { return ch.name == "tcp-rr" })].measure
		}
		all = slices.Insert(all, 0, cell{all[0].wire, hostHost, control})
	}
	return all
}

// Capacity reports whether anything is measured of the instances that the variants' first plans are.
func (c *Config) Capacity() bool { return len(c.cells()) > 0 || c.programs() }

// lives reports whether what is no traffic is measured.
func (c *Config) lives() bool {
	if len(c.Measures) > 0 {
		return slices.Contains(c.Measures, lifecycle)
	}
	return !c.Stands && c.Set != Quick && len(c.Paths) == 0
}

// wiresOf chooses wire models by name, in the order given.
func wiresOf(names []string) ([]Wire, error) {
	var wires []Wire
	for _, name := range names {
		i := slices.IndexFunc(Wires, func(w Wire) bool { return w.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no wire model %q; the wire models are %s", name, strings.Join(WireNames(), ", "))
		}
		if !slices.Contains(wires, Wires[i]) {
			wires = append(wires, Wires[i])
		}
	}
	return wires, nil
}

// WireNames lists the wire models.
func WireNames() []string {
	var names []string
	for _, w := range Wires {
		names = append(names, w.Name)
	}
	return names
}

// shapedRounds is how many rounds arithmetic needs.
const shapedRounds = 3

// rounds is how many rounds a wire model is measured in.
func (c *Config) rounds(wire string) int {
	if wire == shaped {
		return min(c.Rounds, shapedRounds)
	}
	return c.Rounds
}

// lifetimes is how often instances are built and removed for what is no traffic.
func (c *Config) lifetimes() int {
	switch {
	case !c.lives():
		return 0
	case c.Set == Default:
		return min(c.Rounds, 3)
	}
	return c.Rounds
}

// whole is how the engine times what is measured in one piece. Arithmetic needs a window in which a burst more or less is
// nothing.
func (c *Config) whole(wire string) traffic.Config {
	cfg := traffic.Config{Warmup: c.Warmup, Window: c.Window, Congestion: congestion}
	switch {
	case wire == shaped && c.Set == Default:
		cfg.Warmup, cfg.Window = max(c.Warmup, 200*time.Millisecond), max(c.Window, 500*time.Millisecond)
	case wire == shaped:
		cfg.Warmup, cfg.Window = max(c.Warmup, 500*time.Millisecond), max(c.Window, 2*time.Second)
	}
	return cfg
}

// Windows are cut into slices, which are taken in turn with those of the other modes: what is compared is then nearer in time,
// and no connection lasts so long that its luck counts.
const (
	sliceWindow = 100 * time.Millisecond
	sliceWarmup = 30 * time.Millisecond
)

// slices is into how many a cell's window is cut.
func (c *Config) slices(x cell) int {
	if !x.sliced || x.wire == shaped || c.Engine != ours {
		return 1
	}
	return max(1, int(c.Window/sliceWindow))
}

// timing is how the engine times a slice of a cell.
func (c *Config) timing(x cell) traffic.Config {
	cfg := c.whole(x.wire)
	if x.sliced && x.wire != shaped {
		cfg.Warmup = min(cfg.Warmup, sliceWarmup)
	}
	cfg.Window /= time.Duration(c.slices(x))
	return cfg
}

// generation estimates one of path cost: how many turns there are in it, and how long they take. A turn takes a slice of each.
func (c *Config) generation(number int) (turns int, total time.Duration) {
	var segments []int
	for _, v := range c.Variants {
		if len(v.Plans) == 0 {
			continue
		}
		if way, ok := routes(v.Plans[0].Cluster)[crossNode]; ok {
			segments = append(segments, segment(v.Plans[0], way))
		}
	}
	for _, x := range grid(c.Set, segments) {
		if x.curve && !c.curved(number) {
			continue
		}
		turns += x.slices
		rows := len(c.Variants) + 2 // the nodes, and the control without rules
		if x.curve {
			rows = len(c.Variants)
		}
		total += time.Duration(rows*x.slices) * (slice + betweenSlices)
	}
	return turns, total
}

// betweenSlices is what a connection and two threads take.
const betweenSlices = 3 * time.Millisecond

// Estimate returns about how long the comparison will take, building and removing the instances included.
func Estimate(c Config) time.Duration {
	const instance = 1500 * time.Millisecond // to build, prove and remove one
	const copied = 150 * time.Millisecond    // to build, read and remove one that is like another
	var subject, cost time.Duration
	for _, x := range c.cells() {
		subject += time.Duration(c.rounds(x.wire)*c.slices(x)) * (x.takes(c.timing(x)) + around)
	}
	subject += time.Duration(c.lifetimes()) * life
	if c.costs() {
		for g := range c.Generations {
			_, took := c.generation(g + 1)
			cost += took + time.Duration(len(c.Variants)+1)*copied
		}
	}
	return cost + time.Duration(len(c.Variants))*(subject+instance) + ceilings(&c)
}

// Extent says how much is measured.
func (c *Config) Extent() string {
	var parts []string
	count := func(n int, what string) {
		if n != 1 {
			what += "s"
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	if c.costs() {
		count(c.Generations, "generation")
	}
	if c.Capacity() || len(parts) == 0 {
		count(c.Rounds, "round")
	}
	return strings.Join(parts, " and ")
}

// around is what goes on before and after a measurement: connections, counters.
const around = 40 * time.Millisecond

// life estimates a lifecycle.
const life = 1500 * time.Millisecond
