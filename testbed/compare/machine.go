package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed"
)

// Machine says what is measured on. What cannot be found out is left out.
func Machine() report.Machine {
	m := report.Machine{
		CPUs: runtime.NumCPU(), Load: load(), Rootless: testbed.InUserNamespace(),
		Governor:   line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		Clock:      line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
		Qdisc:      line("/proc/sys/net/core/default_qdisc"),
		Congestion: line("/proc/sys/net/ipv4/tcp_congestion_control"),
		Hypervisor: strings.TrimSpace(line("/sys/class/dmi/id/sys_vendor") + " " + line("/sys/class/dmi/id/product_name")),
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = info.Totalram * uint64(info.Unit)
	}
	m.CPU, m.Virtual = cpu()
	if !m.Virtual {
		m.Hypervisor = ""
	}
	weaknesses, _ := filepath.Glob("/sys/devices/system/cpu/vulnerabilities/*")
	for _, w := range weaknesses {
		if state := line(w); state != "" && state != "Not affected" {
			m.Mitigations = append(m.Mitigations, filepath.Base(w)+": "+state)
		}
	}
	return m
}

// cpu returns the CPU's name and whether there is a hypervisor below it.
func cpu() (model string, virtual bool) {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(l, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "flags":
			virtual = slices.Contains(strings.Fields(value), "hypervisor")
		case "": // the next CPU is like the first
			return model, virtual
		}
	}
	return model, virtual
}

func line(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

// load is the load average of the last minute.
func load() float64 {
	first, _, _ := strings.Cut(line("/proc/loadavg"), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}

// stolen is the CPU time that the hypervisor has given to others since the machine began.
func stolen() time.Duration {
	all, _, _ := strings.Cut(line("/proc/stat"), "\n")
	fields := strings.Fields(all)
	if len(fields) < 9 {
		return 0
	}
	ticks, _ := strconv.ParseInt(fields[8], 10, 64)
	return time.Duration(ticks) * time.Second / userHz
}

// userHz is the unit of /proc/stat, the same on every architecture that Go runs on.
const userHz = 100

// topology is the lab's picture.
func topology(c *plan.Cluster) report.Topology {
	var t report.Topology
	for _, sw := range c.Lab.Switches {
		s := report.TopologySwitch{Name: sw.Name}
		for _, subnet := range sw.Subnets {
			s.Subnets = append(s.Subnets, subnet.String())
		}
		for _, v := range sw.VLANs {
			for _, subnet := range v.Subnets {
				s.Subnets = append(s.Subnets, fmt.Sprintf("VLAN %d: %s", v.ID, subnet))
			}
		}
		t.Switches = append(t.Switches, s)
	}
	pods := map[string][]report.TopologyPod{}
	for _, n := range c.Nodes {
		for _, p := range n.Pods {
			pods[n.Name] = append(pods[n.Name], report.TopologyPod{Name: p.Name, Address: p.Addresses()[0].Addr().String()})
		}
	}
	for _, m := range c.Lab.Machines {
		o := report.TopologyMachine{Name: m.Name, Kind: string(m.Kind), Pods: pods[m.Name]}
		for _, nic := range m.Interfaces {
			if !slices.Contains(o.Switches, nic.Switch.Name) {
				o.Switches = append(o.Switches, nic.Switch.Name)
			}
		}
		if nic := m.Interfaces[0]; len(nic.Addresses) > 0 {
			o.Address = nic.Addresses[0].Addr().String()
		}
		t.Machines = append(t.Machines, o)
	}
	return t
}

// settings says what a plan sets on the uplinks for the wire model's sake.
func settings(p *plan.Plan) []string {
	if len(p.Cluster.Nodes) == 0 {
		return nil
	}
	n := p.Cluster.Nodes[0]
	var all []string
	if l, ok := p.State.Get(plan.Key{Namespace: n.Namespace, Kind: plan.KindLink, Name: n.Uplink().Name}).(plan.Link); ok && l.Offloads != "" {
		all = strings.Fields(l.Offloads)
	}
	p.State.Each(func(o plan.Object) {
		if q, ok := o.(plan.Qdisc); ok && q.Namespace == n.Namespace && q.Link == n.Uplink().Name && q.Type != "clsact" {
			all = append(all, "qdisc "+q.Type)
			if q.Rate > 0 {
				all = append(all, fmt.Sprintf("rate %g Mbit/s", float64(q.Rate)/1e6), fmt.Sprintf("burst %d bytes", q.Burst))
			}
		}
	})
	return all
}

// arithmetic is what the headers alone make of a stream's goodput where the wire is the limit: a full segment's payload, of
// the frame that carries it.
func (c *Config) arithmetic() []report.Expected {
	if !slices.ContainsFunc(c.cells(), func(x cell) bool { return x.wire == shaped }) {
		return nil
	}
	type share struct {
		payload, frame int
		text           string
	}
	shares := map[string]share{}
	for _, v := range c.Variants {
		p := v.Plans[0]
		way, ok := routes(p.Cluster)[crossNode]
		if !ok || routes(p.Cluster).missing(crossNode, p) != "" {
			continue
		}
		e := p.Expect(plan.Flow{From: way.from, To: way.to})
		s := share{payload: segment(p, way), frame: min(e.MTU, podMTU(p, way.from)) + e.Encap.Overhead + ethernet}
		s.text = fmt.Sprintf("%d of %d bytes", s.payload, s.frame)
		shares[v.Mode] = s
	}
	base, ok := shares[c.Baseline]
	if !ok {
		return nil
	}
	var all []report.Expected
	for _, v := range c.Variants {
		s, ok := shares[v.Mode]
		if !ok || v.Mode == c.Baseline || v.Mode == c.Twin {
			continue
		}
		all = append(all, report.Expected{
			Mode: v.Mode, Wire: shaped, Path: crossNode, Measure: "tcp-stream", Metric: "goodput", Params: "streams=1",
			Ratio: float64(s.payload) / float64(s.frame) * float64(base.frame) / float64(base.payload), Tolerance: 0.01,
			Source: "payload " + s.text + ", " + c.Baseline + " " + base.text,
		})
	}
	return all
}

// segment is the payload of a full TCP segment.
func segment(p *plan.Plan, way route) int {
	ip := 20
	if way.from.Address.Is6() {
		ip = 40
	}
	return min(p.Expect(plan.Flow{From: way.from, To: way.to}).MTU, podMTU(p, way.from)) - ip - tcpHeader
}

// podMTU is what the pod's own device allows; a path may allow more.
func podMTU(p *plan.Plan, e plan.Endpoint) int {
	if l, ok := p.State.Get(plan.Key{Namespace: e.Namespace, Kind: plan.KindLink, Name: "eth0"}).(plan.Link); ok && e.Pod != nil && l.MTU > 0 {
		return l.MTU
	}
	return 1<<16 - 1
}
