package report

import "time"

// Schema is the version of results.json. Fields are only ever added: what an older program recorded can be rendered, and
// what was not recorded is said not to be there.
const Schema = 1

// Results is all that is known of a comparison.
type Results struct {
	Schema     int         `json:"schema"`
	Tool       string      `json:"tool"`
	Argv       []string    `json:"argv"`
	Start      time.Time   `json:"start"`
	Finish     time.Time   `json:"finish"`
	Machine    Machine     `json:"machine"`
	Lab        string      `json:"lab"`
	Definition string      `json:"definition"` // the lab's file: its SHA-256, in hexadecimal
	Topology   Topology    `json:"topology"`
	Modes      []string    `json:"modes"` // in the order asked for; the twin is none of them
	Baseline   string      `json:"baseline"`
	Twin       *Twin       `json:"twin"`
	Swept      []Swept     `json:"swept,omitempty"` // modes that are others at one value of something
	RuleFree   *Twin       `json:"rule_free"`       // a mode once more, without its netfilter rules; it is none of the modes
	Wires      []Wire      `json:"wires"`           // the first is the one that ranks
	Set        string      `json:"set"`             // of measures: quick, default, full; empty where they were chosen one by one
	Quick      bool        `json:"quick"`
	Rounds     int         `json:"rounds"`       // finished
	Asked      int         `json:"rounds_asked"` // more where the comparison was interrupted
	Warmup     float64     `json:"warmup_seconds"`
	Window     float64     `json:"window_seconds"`
	Tail       float64     `json:"tail_seconds"`
	Engine     string      `json:"engine"` // what made the load: lab, iperf3
	Seed       uint64      `json:"seed"`
	Order      [][]string  `json:"order"`   // of the modes, a list for every round; Passes says more
	Passes     []Pass      `json:"passes"`  // as they were taken
	Resumed    []time.Time `json:"resumed"` // when the comparison was taken up again
	Retries    []Retry     `json:"retries"`
	Endpoints  []Endpoints `json:"endpoints"`
	Ceiling    []Sample    `json:"ceiling"` // of the generator itself, over loopback; path "loopback", no mode
	Samples    []Sample    `json:"samples"`
	Histograms []Histogram `json:"histograms"`
	Series     []Series    `json:"series"`
	Devices    []Device    `json:"devices"`
	Proof      []Proof     `json:"proof"`
	Expected   []Expected  `json:"expected"`
	Traits     []Trait     `json:"traits"`    // of the modes, as they were planned
	Checks     []Check     `json:"checks"`    // made while measuring
	Warnings   []string    `json:"warnings"`  // what happened while measuring
	PathCost   *PathCost   `json:"path_cost"` // how samples of the measure path-cost were taken; null where there are none

	// What follows is derived from the above, by Derive.
	Verdict  Verdict   `json:"verdict"` // what it comes to
	Summary  []Summary `json:"summary"`
	Control  []Control `json:"control"`          // the pair of twins
	Growth   []Growth  `json:"growth,omitempty"` // how numbers go with what is swept
	Validity []Check   `json:"validity"`         // every check, the derived ones first
	Notes    []string  `json:"notes"`            // what the reader must know
}

// Machine is what was measured on.
type Machine struct {
	Kernel      string   `json:"kernel"`
	CPU         string   `json:"cpu"`
	CPUs        int      `json:"cpus"`
	Virtual     bool     `json:"virtual"`     // whether a hypervisor is below
	Hypervisor  string   `json:"hypervisor"`  // its name, where it is known
	Mitigations []string `json:"mitigations"` // "spectre_v2: Mitigation: …"
	Memory      uint64   `json:"memory"`      // in bytes
	Governor    string   `json:"governor"`    // of the CPU's frequency
	Clock       string   `json:"clock"`       // clock source
	Qdisc       string   `json:"qdisc"`       // default of a device that has a real one
	Congestion  string   `json:"congestion"`  // default of a socket; the samples say what was used
	Steal       float64  `json:"steal"`       // seconds of CPU that the hypervisor gave to others, over the whole comparison
	Rootless    bool     `json:"rootless"`    // by a user who is not root, in a user namespace, where buffers of sockets are smaller
	Load        float64  `json:"load"`        // one-minute average before the comparison began
	Pinned      []int    `json:"pinned"`      // the CPUs of client and server; empty where they ran anywhere
}

// Topology is what the lab looks like; it is the same in every mode.
type Topology struct {
	Switches []TopologySwitch  `json:"switches"`
	Machines []TopologyMachine `json:"machines"`
}

// TopologySwitch is a switch with its subnets.
type TopologySwitch struct {
	Name    string   `json:"name"`
	Subnets []string `json:"subnets"`
}

// TopologyMachine is a node, router or host, and the pods on it.
type TopologyMachine struct {
	Name     string        `json:"name"`
	Kind     string        `json:"kind"` // node, router, host
	Switches []string      `json:"switches"`
	Address  string        `json:"address"` // of the uplink
	Pods     []TopologyPod `json:"pods"`
}

// TopologyPod is a pod. Its address is that of the first mode, since modes may allocate differently.
type TopologyPod struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Twin says which mode was built and measured a second time under another name, so that the comparison shows what it
// finds between equals. Samples, passes and devices carry the twin's name as their mode.
type Twin struct {
	Mode string `json:"mode"` // the twin's name, such as "host-gw again"
	Of   string `json:"of"`
}

// PathCost says how path cost was measured: the work of the kernel for a message, with both ends on one CPU.
//
// Its samples are of the measure "path-cost", under the wire model "bare", and what is counted as a round elsewhere is a
// generation here: in each there is an instance of every variant, built before the measuring began, and Round is its number.
// So a variant has one value for each generation and cell, from slices that were taken in turn with the others'.
//
//	Metric "round trip", unit ns: of each slice the mean of the middle half of its round trips; of the slices the lower
//	quartile. In older results the mean of the middle half of all round trips.
//	Metric "elsewhere", a number without a unit: network softirqs that other CPUs worked on for each round trip. It is the
//	least of the cell's slices, so that what others do on the machine is left out as far as can be.
//
// Params are words, of which those with "=" name a value:
//
//	protocol=tcp request=512          the cell that ranks
//	protocol=tcp request=1400         beside it
//	protocol=udp request=64           beside it
//	protocol=tcp request=1 connect    a new connection for every request: from connect to the answer
//	protocol=tcp request=65536 curve  a point of the curve, with intervals and without ranks
//
// The answer is one byte, in UDP eight, which are also the fewest of a request. What was measured as a ranking cell is not
// measured again for the curve: the curve consists of the points and of the ranking cells.
//
// The path is "cross-node", or "host-host" for what all are held against: between the nodes of the variant without rules,
// and of the baseline where there is none.
type PathCost struct {
	Asked  int            `json:"asked"`  // generations
	CPU    int            `json:"cpu"`    // that both ends, softirqs and agents ran on
	Before bool           `json:"before"` // the threads of both ends went before all others on it
	Slice  float64        `json:"slice"`  // seconds
	Brief  float64        `json:"brief"`  // seconds, of points of the curve
	Slices int            `json:"slices"` // of a ranking cell in a generation; none in older results, which pooled theirs
	MSS    map[string]int `json:"mss"`    // by mode: the payload of a full TCP segment between pods of different nodes
	Passes []Generation   `json:"passes"` // as they were measured
	// Impaired are the switches that limit, delay or lose packets, as "lan, wan": a round trip is not the kernel's work alone then, and ranks nothing.
	Impaired string `json:"impaired,omitempty"`
	Left     []Left `json:"left"` // modes whose work leaves the CPU: their numbers are latencies, and no cost
}

// Generation is one round of path cost. One that is void has no samples.
type Generation struct {
	Number  int       `json:"number"` // from 1
	Start   time.Time `json:"start"`
	Seconds float64   `json:"seconds"`
	Steal   float64   `json:"steal"` // seconds of CPU
	Load    float64   `json:"load"`  // one-minute average at the end
	Void    string    `json:"void"`  // why it does not count; empty where it does
}

// Left says that packets of a mode are worked on by other CPUs than the one that is measured.
type Left struct {
	Mode      string  `json:"mode"`
	Elsewhere float64 `json:"elsewhere"` // softirqs for each round trip, the median of the generations
}

// Swept says that one of the modes is another at certain values of what is swept.
type Swept struct {
	Mode   string `json:"mode"`   // such as "vxlan mtu=9000"
	Of     string `json:"of"`     // vxlan
	Values string `json:"values"` // mtu=9000; "mtu=9000 nodes=3" where two are swept
}

// Wire is a model of the links between nodes. Numbers of different ones are never compared.
type Wire struct {
	Name     string   `json:"name"`     // super, nic, bare, shaped
	About    string   `json:"about"`    // a sentence
	Settings []string `json:"settings"` // what was set on every uplink: "gso_max_segs 1", "qdisc pfifo limit 1000"
	Rate     float64  `json:"rate"`     // Gbit/s, where the wire is limited; 0 is not
}

// Pass is one round under one wire model.
type Pass struct {
	Round   int       `json:"round"`
	Wire    string    `json:"wire"`
	Order   []string  `json:"order"` // of the modes, the twin among them
	Start   time.Time `json:"start"`
	Seconds float64   `json:"seconds"`
	Steal   float64   `json:"steal"` // seconds of CPU
	Load    float64   `json:"load"`  // one-minute average at the end
}

// Retry is a measurement that was taken again, and why.
type Retry struct {
	Mode    string `json:"mode"`
	Wire    string `json:"wire"`
	Path    string `json:"path"`
	Measure string `json:"measure"`
	Params  string `json:"params"`
	Round   int    `json:"round"`
	Reason  string `json:"reason"`
}

// Endpoints says between whom a path was measured.
type Endpoints struct {
	Mode        string `json:"mode"`
	Path        string `json:"path"`
	From        string `json:"from"`
	To          string `json:"to"`
	FromAddress string `json:"from_address"`
	ToAddress   string `json:"to_address"`
}

// Sample is one number of one measurement. One measurement gives several: its metrics share everything but Metric, Value
// and Unit. What is no traffic (build, objects, memory, convergence, first-packet, cni-add, cni-del) has samples too, on the path "-" or on
// the one that it is about.
//
// What metrics there are beside a measurement's first, which way they are better and which of them it was made for stands in
// one table, metrics. Others are retransmits (per GB), drops, time.
type Sample struct {
	Mode        string  `json:"mode"`
	Datapath    string  `json:"datapath"`
	Wire        string  `json:"wire"` // the wire model; numbers of different ones are never compared
	Path        string  `json:"path"`
	Measure     string  `json:"measure"`
	Metric      string  `json:"metric"`
	Params      string  `json:"params"` // "streams=8", "size=64 rate=10000"
	Round       int     `json:"round"`  // from 1
	Value       float64 `json:"value"`
	Unit        string  `json:"unit"`
	MSS         int     `json:"mss"`         // of the client's socket
	Congestion  string  `json:"congestion"`  // as really used
	Retransmits int     `json:"retransmits"` // segments of the whole connection
}

// Histogram is the distribution of one measurement's latencies.
type Histogram struct {
	Mode    string       `json:"mode"`
	Wire    string       `json:"wire"`
	Path    string       `json:"path"`
	Measure string       `json:"measure"`
	Params  string       `json:"params"`
	Round   int          `json:"round"`
	Unit    string       `json:"unit"`
	Counts  [][2]float64 `json:"counts"` // a value and how often it, or one rounded to it, was seen; ascending
}

// Series is how a number went during one measurement.
type Series struct {
	Mode    string    `json:"mode"`
	Wire    string    `json:"wire"`
	Path    string    `json:"path"`
	Measure string    `json:"measure"`
	Metric  string    `json:"metric"`
	Params  string    `json:"params"`
	Round   int       `json:"round"`
	Unit    string    `json:"unit"`
	Step    float64   `json:"step"` // seconds from one value to the next
	Values  []float64 `json:"values"`
}

// Device is a network device of a machine or pod on a measured path.
type Device struct {
	Mode       string          `json:"mode"`
	Wire       string          `json:"wire"`
	Machine    string          `json:"machine"` // node1, node1/p1, the switch's name
	Namespace  string          `json:"namespace"`
	Device     string          `json:"device"`
	Kind       string          `json:"kind"`
	MTU        int             `json:"mtu"`
	Qdisc      string          `json:"qdisc"`
	GSOMaxSegs int             `json:"gso_max_segs"`
	GSOMaxSize int             `json:"gso_max_size"`
	GROMaxSize int             `json:"gro_max_size"`
	Offloads   map[string]bool `json:"offloads"` // by ethtool's names; those that matter here
	Drops      uint64          `json:"drops"`    // of device and qdisc, over all measurements
}

// Proof says what was really on the underlay while a mode's pods talked.
type Proof struct {
	Mode          string   `json:"mode"`
	Wire          string   `json:"wire"`
	OK            bool     `json:"ok"`
	Encapsulation string   `json:"encapsulation"` // as promised
	Frames        int      `json:"frames"`
	Detail        string   `json:"detail"`
	Sizes         [][2]int `json:"sizes"` // of the frames of a stream, Ethernet header included: a size and how many; ascending
}

// Expected is a number that arithmetic gives, to be held against what was measured.
type Expected struct {
	Mode      string  `json:"mode"`
	Wire      string  `json:"wire"`
	Path      string  `json:"path"`
	Measure   string  `json:"measure"`
	Metric    string  `json:"metric"`
	Params    string  `json:"params"`
	Ratio     float64 `json:"ratio"`     // to the baseline
	Tolerance float64 `json:"tolerance"` // how far off is still as expected, as a share: 0.01
	Source    string  `json:"source"`    // the arithmetic: "MSS 1398 of 1514 bytes, against 1448 of 1514"

	Measured *float64 `json:"measured"`           // derived: the summary's ratio
	OK       bool     `json:"ok"`                 // derived
	Unfilled bool     `json:"unfilled,omitempty"` // derived: where nothing limits it, the mode carries less than this rate in some round
}

// Check is one condition of believing the numbers. Mode and wire are empty where it is about all of them.
type Check struct {
	Name   string `json:"name"`
	Mode   string `json:"mode"`
	Wire   string `json:"wire"`
	OK     bool   `json:"ok"`
	State  string `json:"state"`  // passed, failed, not tested; derived from OK where it is empty
	Detail string `json:"detail"` // what was seen
}

// Control is what the comparison found between the twins, where there is nothing to be found.
type Control struct {
	Wire      string   `json:"wire"`
	Path      string   `json:"path"`
	Measure   string   `json:"measure"`
	Metric    string   `json:"metric"`
	Params    string   `json:"params"`
	N         int      `json:"n"`
	Ratio     *float64 `json:"ratio"` // of the twin to its original
	RatioLow  *float64 `json:"ratio_low"`
	RatioHigh *float64 `json:"ratio_high"`
	P         *float64 `json:"p"`        // as for any mode, not corrected
	Adjusted  *float64 `json:"adjusted"` // the chance that among equals any number of this wire model differs as clearly
}
