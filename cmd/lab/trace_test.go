package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"labnet/lab/trace"
	"labnet/testbed"
)

// TestTrace: people and programs are told the same, and the exit status says whether there was an answer.
func TestTrace(t *testing.T) {
	needRoot(t)
	const name = "faults-trace"
	must(t, "up", tinyFile(t), "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	text := must(t, "trace", "n1/p1", "n2/p1", "-l", name)
	if !strings.Contains(text, "✓ n1/p1 → n2/p1 (10.9.1.2): icmp of 60 bytes arrived") || !strings.Contains(text, "n2/p1  in eth0") {
		t.Error(text)
	}
	if long := must(t, "trace", "n1/p1", "n2/p1", "-l", name, "-v"); !strings.Contains(long, "\nBack:\n") || strings.Contains(text, "Back:") {
		t.Errorf("the way back is shown when it is asked for:\n%s", long)
	}
	var d trace.Document
	if err := json.Unmarshal([]byte(must(t, "trace", "n1/p1", "n2/p1", "-l", name, "-o", "json")), &d); err != nil {
		t.Fatal(err)
	}
	last := d.Hops[len(d.Hops)-1]
	if !d.OK || d.Drop != nil || d.Hops[0].Machine != "n1/p1" || last.Machine != "n2/p1" || last.Device != "eth0" || last.Direction != trace.In || last.Time <= 0 || !d.Answer.OK || len(last.Headers) != 3 {
		t.Errorf("%+v", d)
	}
	must(t, "exec", "-l", name, "n1", "--", "ip", "route", "del", "10.9.1.0/24")
	code, text, _ := labRun(t, "trace", "n1/p1", "n2/p1", "-l", name, "-o", "json")
	if err := json.Unmarshal([]byte(text), &d); err != nil || code != answer || d.OK || d.Drop == nil || d.Drop.Machine != "n1" || d.Drop.Command != "ip -n faults-trace.n1 route get 10.9.1.2 from 10.9.0.2 iif cni0" {
		t.Errorf("exit status %d, %v:\n%s", code, err, text)
	}
}

// TestTraceRefuses: what cannot be meant is one line, and nothing is sent.
func TestTraceRefuses(t *testing.T) {
	if code, _, said := labRun(t, "trace", "n1", "n2", "-l", "faults-nothing"); code == 0 {
		t.Errorf("a lab that is not up: %s", said)
	}
	needRoot(t)
	const name = "faults-trace"
	must(t, "up", tinyFile(t), "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	for _, tt := range []struct{ args, want string }{
		{"n1", "say from where to where"},
		{"n1 n2 -l nothing", "nothing"},
		{"n1 n3 -l LAB", `Did you mean "n1"`},
		{"n9/p1 n1 -l LAB", "has no n9/p1"},
		{"n1 n1 -l LAB", "are one"},
		{"n1 lan -l LAB", "lan is a switch"},
		{"n1 fd00::1 -l LAB", "no address of the same family"},
		{"203.0.113.1 n1 -l LAB", "no address of lab"},
		{"n1 n2 -l LAB --proto sctp", "--proto sctp: it is icmp, udp, tcp"},
		{"n1 n2 -l LAB --port 80", "has no port"},
		{"n1 n2 -l LAB --proto udp --port 65536", "from 1 to 65535"},
		{"n1 n2 -l LAB --size 20", "the smallest packet of this kind has 44 bytes"},
		{"n1 n2 -l LAB --size 100000", "the largest packet"},
		{"n1 n2 -l LAB --wait 0s", "longer than nothing"},
		{"n1 n2 -l LAB --backend eyes", "auto, tracepoint, packet"},
	} {
		args := append([]string{"trace"}, strings.Fields(strings.ReplaceAll(tt.args, "LAB", name))...)
		code, out, said := labRun(t, args...)
		if code != refused || out != "" || !strings.Contains(said, tt.want) || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit status %d: %s%s", tt.args, code, said, out)
		}
	}
	if got := complete(t, "trace", "-l", name, "n1/p1", ""); !slices.Equal(got, []string{"n1", "n2", "n2/p1"}) {
		t.Errorf("what a shell offers: %q", got)
	}
	if got := complete(t, "trace", "--proto", ""); !slices.Equal(got, []string{"icmp", "udp", "tcp"}) {
		t.Errorf("what a shell offers: %q", got)
	}
}

// TestTraceFiles: the page and the frames of a trace are written, and Wireshark's reader finds each frame at its device, with what
// was decided there, in the order in which it went.
func TestTraceFiles(t *testing.T) {
	needRoot(t)
	const name = "faults-tracefiles"
	must(t, "up", tinyFile(t), "--name", name, "--mode", "vxlan")
	t.Cleanup(func() { must(t, "down", name) })
	dir := t.TempDir()
	page, frames := filepath.Join(dir, "walk.html"), filepath.Join(dir, "walk.pcapng")
	out := must(t, "trace", "-l", name, "n1/p1", "n2/p1", "--html", page, "--pcap", frames, "-o", "json")
	var doc trace.Document
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "n1/p1 → n2/p1") {
		t.Errorf("%v: %s", err, text)
	}
	hops := append(slices.Clone(doc.Hops), doc.Answer.Hops...)
	lines := tshark(t, frames, "-N", "n", "-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment", "-e", "ip.dst_host", "-e", "frame.len")
	if len(lines) != len(hops) {
		t.Fatalf("%d frames, not %d:\n%s", len(lines), len(hops), strings.Join(lines, "\n"))
	}
	for i, h := range hops {
		words := strings.Split(lines[i], "\t")
		decided := ""
		if h.Decision != nil {
			decided = h.Decision.Text
		}
		if words[0] != h.Machine+"/"+h.Device || words[1] != decided || i == 0 && words[2] != "n2/p1" {
			t.Errorf("frame %d is %q, not of %s/%s: %s", i, words, h.Machine, h.Device, decided)
		}
	}
	if code, _, said := labRun(t, "trace", "-l", name, "n1/p1", "n2/p1", "--pcap", dir); code != failed || !strings.Contains(said, dir) {
		t.Errorf("exit status %d: %s", code, said)
	}
	code, out, said := labRun(t, "walk", name)
	if code != 0 || !strings.Contains(out, "From node to node, mode vxlan") || !strings.Contains(out, "flannel.1") {
		t.Errorf("exit status %d\n%s%s", code, out, said)
	}
}

// standsIn is what stands in the namespaces of a lab, by the usual tools: all that a packet does not teach them.
func standsIn(t *testing.T, lab string) string {
	t.Helper()
	spaces, err := filepath.Glob(filepath.Join(testbed.NetnsDir, lab+".*"))
	if err != nil || len(spaces) == 0 {
		t.Fatal(err, spaces)
	}
	var b strings.Builder
	for _, path := range spaces {
		ns := filepath.Base(path)
		for _, line := range []string{
			"ip -n NS -d -o link", "ip -n NS -o address", "ip -n NS route show table all", "ip -n NS rule", "tc -n NS qdisc", "ip netns exec NS nft list ruleset",
			"ip netns exec NS sysctl -a -e --pattern ^net[.](ipv4|ipv6)[.](conf|ip_forward)",
		} {
			words := strings.Fields(strings.ReplaceAll(line, "NS", ns))
			out, _ := exec.Command(words[0], words[1:]...).CombinedOutput()
			b.Write(timers.ReplaceAll(out, nil))
		}
	}
	return b.String()
}

var timers = regexp.MustCompile(`[a-z_]+_timer +[0-9.]+`)

// linesBeyond are the lines of a text that another lacks.
func linesBeyond(text, other string) []string {
	all := strings.Split(other, "\n")
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return slices.Contains(all, line) })
}

// tracing counts the programs with which lab follows packets.
func tracing(t *testing.T) (n int) {
	t.Helper()
	for id := ebpf.ProgramID(0); ; {
		var err error
		if id, err = ebpf.ProgramGetNextID(id); err != nil {
			return n
		}
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // it has gone
		}
		if info, err := p.Info(); err == nil && info.Name == "lab_trace" {
			n++
		}
		p.Close()
	}
}

// TestTraceLeavesNothing: a trace changes nothing that stands in a lab, by either back end, also when it is killed in its middle.
func TestTraceLeavesNothing(t *testing.T) {
	needRoot(t)
	const name = "faults-traceleft"
	must(t, "up", tinyFile(t), "--name", name, "--mode", "vxlan")
	t.Cleanup(func() { must(t, "down", name) })
	before := standsIn(t, name)
	unchanged := func(after string) {
		t.Helper()
		if now := standsIn(t, name); now != before {
			t.Errorf("%s: %q is not %q", after, linesBeyond(now, before), linesBeyond(before, now))
		}
	}
	for _, backend := range []string{"tracepoint", "packet"} {
		must(t, "trace", "-l", name, "n1/p1", "n2/p1", "--backend", backend)
		unchanged(backend)
		// Nobody has this address, so that the trace waits.
		c := begin(t, "trace", "-l", name, "n1/p1", "10.9.0.99", "--backend", backend, "--wait", "1m")
		if backend == "tracepoint" {
			until(t, "programs", func() bool { return tracing(t) > 0 })
		} else {
			until(t, "a packet socket", func() bool {
				out, err := exec.Command("ip", "netns", "exec", name+".n1.p1", "cat", "/proc/net/packet").Output()
				return err == nil && strings.Count(string(out), "\n") > 1
			})
		}
		_ = c.Process.Kill()
		<-c.done
		until(t, "the programs are gone", func() bool { return tracing(t) == 0 })
		unchanged(backend + ", killed")
	}
}

// BenchmarkTrace follows packets, in a small lab and in a large one: the median of twenty.
func BenchmarkTrace(b *testing.B) {
	for _, lab := range []struct {
		name, file, from, to string
		vars                 []string
	}{
		{"three-node", "three-node", "master/p1", "worker1/p1", nil},
		{"100x10", "scale", "node1/p1", "node100/p1", []string{"--var", "nodes=100", "--var", "pods=10"}},
	} {
		b.Run(lab.name, func(b *testing.B) {
			instance := "faults-tracebench"
			call := func(args ...string) {
				b.Helper()
				if out, err := again(asLab+"=1", args...).CombinedOutput(); err != nil {
					b.Fatalf("lab %s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
			call(append([]string{"up", lab.file, "--name", instance}, lab.vars...)...)
			b.Cleanup(func() { call("down", instance) })
			var spent []time.Duration
			for b.Loop() {
				for range 20 {
					start := time.Now()
					call("trace", "-l", instance, lab.from, lab.to)
					spent = append(spent, time.Since(start))
				}
			}
			slices.Sort(spent)
			b.ReportMetric(float64(spent[len(spent)/2].Microseconds())/1000, "median-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
