package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"labnet/lab/packet"
	"labnet/testbed"
)

const exchangePort = 5555

// sender sends numbered packets from one pod of a lab to another's port, where nobody listens, with more in them if that is given.
func sender(t *testing.T, namespace, to string, more ...byte) func(n int) {
	t.Helper()
	place, err := testbed.Open(namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	var conn net.PacketConn
	if err := place.Do(func() (err error) { conn, err = net.ListenPacket("udp4", ":0"); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	at, next := &net.UDPAddr{IP: net.ParseIP(to), Port: exchangePort}, uint32(0)
	return func(n int) {
		for range n {
			if _, err := conn.WriteTo(append(binary.BigEndian.AppendUint32(nil, next), more...), at); err != nil {
				t.Error(err)
			}
			next++
		}
	}
}

// capturing begins a capture, and returns when it has begun.
func capturing(t *testing.T, args ...string) *child {
	t.Helper()
	c := begin(t, append([]string{"capture"}, args...)...)
	until(t, "a capture", func() bool { return strings.Contains(c.said(), "Capturing at") || len(c.done) > 0 })
	return c
}

// finish waits for the end of a capture, and returns how many packets it says that it saw and lost.
func (c *child) finish(t *testing.T, code int) (seen, lost int) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(time.Minute):
		t.Fatalf("%s goes on", c)
	}
	if got := c.ProcessState.ExitCode(); got != code {
		t.Fatalf("%s: exit status %d, not %d\n%s", c, got, code, c.said())
	}
	lines := strings.Split(strings.TrimSpace(c.said()), "\n")
	last := strings.Fields(lines[len(lines)-1])
	seen, err := strconv.Atoi(last[0])
	if err != nil {
		t.Fatalf("%s says %s", c, c.said())
	}
	if len(last) > 3 && last[1] == "packets," && last[2] == "and" {
		if lost, err = strconv.Atoi(last[3]); err != nil {
			t.Fatalf("%s says %s", c, c.said())
		}
	}
	return seen, lost
}

// tshark reads a file of packets with the program that most people read them with.
func tshark(t *testing.T, file string, args ...string) []string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
	out, err := exec.Command("tshark", append([]string{"-r", file, "-d", "udp.port==8472,vxlan"}, args...)...).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.Split(strings.TrimRight(string(out), "\n"), "\n")
}

// TestCaptureIsWhatWasSent: of a known exchange, Wireshark's reader finds every packet once at each device that it passes, in
// order, under the device's name, and the names of those who speak.
func TestCaptureIsWhatWasSent(t *testing.T) {
	needRoot(t)
	const name, n, few = "faults-capture", 300, 30
	must(t, "up", tinyFile(t), "--name", name, "--mode", "vxlan")
	t.Cleanup(func() { must(t, "down", name) })
	send := sender(t, name+".n1.p1", "10.9.1.2")
	file := filepath.Join(t.TempDir(), "walk.pcapng")
	path := []string{"n1/p1/eth0", "n1/cni0", "n1/flannel.1", "n1/eth0", "n2/eth0", "n2/flannel.1", "n2/cni0", "n2/p1/eth0"}
	targets := []string{"-l", name, "-w", file, "n1:cni0", "n1:flannel.1", "n1:eth0", "n2:flannel.1", "n2/p1", "n2:eth0", "n2:cni0", "n1/p1:eth0",
		"--count", strconv.Itoa(n * len(path)), "--", fmt.Sprintf("dst port %d or inner dst port %d", exchangePort, exchangePort)}
	c := capturing(t, targets...)
	for range n / few {
		send(few)
		time.Sleep(time.Millisecond)
	}
	if seen, lost := c.finish(t, 0); seen != n*len(path) || lost != 0 {
		t.Fatalf("%d packets, and %d lost", seen, lost)
	}
	next := map[string]int{}
	before := 0.0
	for _, line := range tshark(t, file, "-T", "fields", "-e", "frame.interface_name", "-e", "data.data", "-e", "frame.time_epoch", "-e", "vxlan.vni") {
		words := strings.Split(line, "\t")
		at := slices.Index(path, words[0])
		got, _ := strconv.ParseUint(words[1], 16, 32)
		when, _ := strconv.ParseFloat(words[2], 64)
		if at < 0 || int(got) != next[words[0]] || when < before || (words[3] == "1") != (words[0] == "n1/eth0" || words[0] == "n2/eth0") {
			t.Fatalf("%s, and packet %d is the next there, at or after %f", line, next[words[0]], before)
		}
		if next[words[0]]++; at > 0 && next[path[at-1]] < next[path[at]] {
			t.Fatalf("packet %d is at %s before it was at %s", got, path[at], path[at-1])
		}
		before = when
	}
	for _, at := range path {
		if next[at] != n {
			t.Errorf("%s has %d packets of %d", at, next[at], n)
		}
	}
	if first := tshark(t, file, "-N", "n", "-c", "1", "-Y", "frame.number == 1", "-T", "fields", "-e", "ip.src_host", "-e", "ip.dst_host"); first[0] != "n1/p1\tn2/p1" {
		t.Errorf("the names are %q", first)
	}
}

// TestCaptureOfTheUnderlay: every frame is there once, where it is sent; on a switch both ports have it.
func TestCaptureOfTheUnderlay(t *testing.T) {
	needRoot(t)
	const name = "faults-capture"
	must(t, "up", tinyFile(t), "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	send := sender(t, name+".n1.p1", "10.9.1.2")
	filter := []string{"--", "udp", "dst", "port", strconv.Itoa(exchangePort)}
	for _, tt := range []struct {
		target string
		count  int
		want   []string
	}{
		{"all", 5, []string{"n1 eth0 out"}},
		{"lan", 15, []string{"lan n1 in", "lan n2 out"}},
	} {
		out := filepath.Join(t.TempDir(), "out")
		file, err := os.Create(out)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		c := &child{Cmd: again(asLab+"=1", append([]string{"capture", "-l", name, tt.target, "-o", "json", "--count", strconv.Itoa(tt.count)}, filter...)...), stderr: out + ".err", done: make(chan error, 1)}
		said, err := os.Create(c.stderr)
		if err != nil {
			t.Fatal(err)
		}
		defer said.Close()
		c.Stdout, c.Stderr = file, said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { c.done <- c.Wait() }()
		t.Cleanup(func() { _ = c.Process.Kill() })
		until(t, "a capture", func() bool { return strings.Contains(c.said(), "Capturing at") })
		for len(c.done) == 0 {
			send(1)
			time.Sleep(time.Millisecond)
		}
		c.finish(t, 0)
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		places := map[string]bool{}
		decoder := json.NewDecoder(bytes.NewReader(text))
		for {
			var d packetDocument
			if err := decoder.Decode(&d); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			last := d.Headers[len(d.Headers)-1]
			if d.Schema != schema || last.Protocol != "udp" || last.Destination != strconv.Itoa(exchangePort) || d.Length != 46 || d.Time.IsZero() || !strings.Contains(d.Line, "UDP, length 4") {
				t.Errorf("%+v", d)
			}
			places[d.Machine+" "+d.Device+" "+d.Direction] = true
		}
		if tt.target == "all" && (len(places) != 1 || !places[tt.want[0]]) || len(places) < len(tt.want) || strings.Count(string(text), "\n") != tt.count {
			t.Errorf("%s: %v\n%s", tt.target, places, text)
		}
	}
}

// TestCaptureCountsWhatItLoses: however fast packets come, those that are seen and those that are said to be lost are all.
func TestCaptureCountsWhatItLoses(t *testing.T) {
	needRoot(t)
	const name, n = "faults-capture", 50_000
	must(t, "up", tinyFile(t), "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	send := sender(t, name+".n1.p1", "10.9.1.2", make([]byte, 1400)...)
	dir := t.TempDir()
	program := filepath.Join(dir, "program") // what "tcpdump -ddd -i lo udp dst port 5555 and ip" prints
	text := "12\n40 0 0 12\n21 9 0 34525\n21 0 8 2048\n48 0 0 23\n21 0 6 17\n40 0 0 20\n69 4 0 8191\n177 0 0 14\n72 0 0 16\n21 0 1 5555\n6 0 0 262144\n6 0 0 0\n"
	if err := os.WriteFile(program, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := capturing(t, "-l", name, "n1/p1:eth0", "-w", filepath.Join(dir, "fast.pcapng"), "--bpf", program)
	_ = c.Process.Signal(syscall.SIGSTOP) // as if it was too slow
	begun := time.Now()
	send(n)
	t.Logf("%.0f packets a second", n/time.Since(begun).Seconds())
	_ = c.Process.Signal(syscall.SIGCONT)
	_ = c.Process.Signal(syscall.SIGINT)
	seen, lost := c.finish(t, 0)
	if seen+lost != n || lost == 0 {
		t.Errorf("%d packets, and %d lost, of %d", seen, lost, n)
	}
	if got := countPackets(t, filepath.Join(dir, "fast.pcapng")); got != seen {
		t.Errorf("the file has %d packets of %d", got, seen)
	}
	t.Logf("%d lost", lost)
}

func countPackets(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		data, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatalf("packet %d: %v", n, err)
		}
		if p := packet.Decode(data, packet.Options{Bare: r.LinkType() == layers.LinkTypeRaw}); len(p.Layers) == 0 {
			t.Fatalf("packet %d is not read: %x", n, data)
		}
	}
}

// TestCaptureEnds: however it is ended, the file is whole.
func TestCaptureEnds(t *testing.T) {
	needRoot(t)
	const name = "faults-capture"
	must(t, "up", tinyFile(t), "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	send := sender(t, name+".n1.p1", "10.9.1.2")
	for _, signal := range endings {
		t.Run(signal.String(), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.pcapng")
			c := capturing(t, "-l", name, "n1/p1:eth0", "-w", file, "--", "udp")
			send(3)
			_ = c.Process.Signal(signal)
			if seen, _ := c.finish(t, 0); seen != 3 || countPackets(t, file) != 3 {
				t.Errorf("%d packets", seen)
			}
		})
	}
	t.Run("killed", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "x.pcapng")
		c := capturing(t, "-l", name, "n1/p1:eth0", "-w", file, "--", "udp")
		send(3)
		until(t, "three packets in the file", func() bool { return countPackets(t, file) == 3 })
		_ = c.Process.Kill()
		<-c.done
	})
	t.Run("time", func(t *testing.T) {
		must(t, "capture", "-l", name, "n1", "--for", "10ms")
	})
	t.Run("closed pipe", func(t *testing.T) {
		cmd := again(asLab+"=1", "capture", "-l", name, "n1/p1", "-w", "-")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		if _, err := io.ReadFull(out, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		out.Close()
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		for end := time.Now().Add(time.Minute); len(done) == 0; time.Sleep(time.Millisecond) {
			if send(1); time.Now().After(end) {
				t.Fatal("it goes on though nobody reads")
			}
		}
	})
	t.Run("full", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "x.pcapng")
		c := capturing(t, "-l", name, "n1/p1:eth0", "-w", file, "--max-size", "100k", "--", "udp")
		for range 30 {
			send(100)
			time.Sleep(time.Millisecond)
		}
		_ = c.Process.Signal(syscall.SIGINT)
		seen, lost := c.finish(t, 0)
		before, now := countPackets(t, file+".1"), countPackets(t, file)
		if seen != 3000 || lost != 0 || before == 0 || now == 0 || before+now > seen {
			t.Errorf("%d packets, %d lost; %d in the file and %d in the one before", seen, lost, now, before)
		}
		if files, _ := os.ReadDir(dir); len(files) != 2 {
			t.Errorf("%v", files)
		}
		if info, _ := os.Stat(file + ".1"); info.Size() < 50_000 || info.Size() > 200_000 {
			t.Errorf("it has %d bytes", info.Size())
		}
	})
}

// TestCaptureText: a line for each packet, with the place where it was seen.
func TestCaptureText(t *testing.T) {
	needRoot(t)
	const name = "faults-capture"
	must(t, "up", tinyFile(t), "--name", name, "--mode", "vxlan")
	t.Cleanup(func() { must(t, "down", name) })
	send := sender(t, name+".n1.p1", "10.9.1.2")
	stop := make(chan bool)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				send(1)
			}
		}
	}()
	defer close(stop)
	text := must(t, "capture", "-l", name, "n1", "--count", "40", "--", "host n1/p1 or inner (udp and dst host n2/p1)")
	for _, want := range []string{
		" n1/cni0 ", " n1/flannel.1 ", "n1/eth0 ", " out IP 192.0.2.2.", ".8472: VXLAN, vni 1: IP 10.9.0.2.", " > 10.9.1.2.5555: UDP, length 4\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Count(text, "\n") != 40 {
		t.Errorf("%d lines", strings.Count(text, "\n"))
	}
}

// TestCaptureRefuses: what cannot be meant is one line, and nothing is written.
func TestCaptureRefuses(t *testing.T) {
	needRoot(t)
	const name = "faults-capture"
	must(t, "up", tinyFile(t), "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	dir := t.TempDir()
	file := filepath.Join(dir, "never.pcapng")
	for program, text := range map[string]string{"words": "(000) ldh [12]\n", "short": "3\n6 0 0 1\n", "large": "1\n6 0 0 4294967296\n", "jumps": "1\n21 9 9 0\n"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ args, want string }{
		{"", "say where"},
		{"-- icmp", "say where"},
		{"n1 -l nothing", "nothing"},
		{"n3", `Did you mean "n1"`},
		{"n1:eth9", `n1 has no device "eth9". Did you mean "eth0"?`},
		{"all:eth0", "has no all"},
		{"n1 -- icmpp", `"icmpp", at character 1 of the filter: it is no word of the language of filters. Did you mean "icmp"?`},
		{"n1 -- tcp[13] & 2 != 0", "--bpf"},
		{"n1 -- port http", "a port is a number"},
		{"n1 -- host n7", "host wants an address"},
		{"n1 --", "the end of the filter"},
		{"n1 -o json -w FILE", "-o json and -w"},
		{"n1 --count -1", "--count -1"},
		{"n1 --for -1s", "--for -1s"},
		{"n1 --snaplen 3", "--snaplen 3"},
		{"n1 --max-size 1M", "it is for a file"},
		{"n1 -w FILE --max-size 5", "of at least 100k"},
		{"n1 -w FILE --max-size 5T", "a number with k, M or G"},
		{"n1 --bpf DIR/words", "line 1 is not as tcpdump -ddd prints it"},
		{"n1 --bpf DIR/short", "line 1 is not"},
		{"n1 --bpf DIR/large", "line 2 is not"},
		{"n1 --bpf DIR/nowhere", "no such file"},
	} {
		text := strings.NewReplacer("FILE", file, "DIR", dir).Replace(tt.args)
		args := append([]string{"capture"}, strings.Fields(text)...)
		code, out, said := labRun(t, args...)
		if code != refused || out != "" || !strings.Contains(said, tt.want) || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit status %d: %s%s", tt.args, code, said, out)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was written")
	}
	if code, _, said := labRun(t, "capture", "n1", "--bpf", filepath.Join(dir, "jumps")); code != refused || !strings.Contains(said, "the kernel refuses the program") {
		t.Errorf("exit status %d: %s", code, said)
	}
	for typed, want := range map[string][]string{"": {"all", "n1", "n1/p1", "n2", "n2/p1"}, "n1:e": {"n1:eth0"}, "n1/p1:": {"n1/p1:eth0", "n1/p1:lo"}} {
		got := complete(t, "capture", "-l", name, typed)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("after %q a shell offers %q", typed, got)
		}
	}
	if got := complete(t, "capture", "n1", "--", "por"); !slices.Equal(got, []string{"port", "portrange"}) {
		t.Errorf("a shell offers %q", got)
	}
}

// TestExtcap: Wireshark's own program finds the machines of a running lab among its interfaces, captures at one, by a filter, and
// refuses what is none.
func TestExtcap(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
	const name = "faults-extcap"
	must(t, "up", tinyFile(t), "--name", name, "--mode", "vxlan")
	t.Cleanup(func() { must(t, "down", name) })
	home := t.TempDir()
	folders, err := exec.Command("tshark", "-G", "folders").Output()
	of := regexp.MustCompile(`(?i)extcap path:\s+(\S+)`).FindAllStringSubmatch(string(folders), -1)
	if err != nil || len(of) == 0 {
		t.Fatalf("%v: %s", err, folders)
	}
	folder := of[len(of)-1][1]                    // a user's own comes first
	wireshark := func(args ...string) *exec.Cmd { // with ours in place of its own programs for extcap
		cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", `mount --bind "$0" "$1" && shift && exec tshark "$@"`, filepath.Join(home, ".local/lib/wireshark/extcap"), folder}, args...)...)
		cmd.Env = append(os.Environ(), asLab+"=1", "HOME="+home)
		return cmd
	}
	install := again(asLab+"=1", "capture", "--extcap-install")
	install.Env = append(install.Env, "HOME="+home)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	list, err := wireshark("-D").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{name + "/n1 (" + name + ": n1)", name + "/n2/p1 (", name + "/all ("} {
		if !strings.Contains(string(list), want) {
			t.Errorf("%s is not among\n%s", want, list)
		}
	}
	send := sender(t, name+".n1.p1", "10.9.1.2")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // until enough is seen
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				send(1)
			}
		}
	}()
	out, err := wireshark("-i", name+"/n1", "-c", "4", "-a", "duration:30", "-f", fmt.Sprintf("dst port %d", exchangePort), "-T", "fields", "-e", "frame.interface_name", "-e", "udp.dstport").Output()
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 4 {
		t.Fatalf("%q", lines)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "n1/") || !strings.HasSuffix(line, strconv.Itoa(exchangePort)) {
			t.Errorf("%q", lines)
		}
	}
	if code, out, _ := labRun(t, "extcap", "--extcap-interface", name+"/n1", "--extcap-capture-filter", "hots n1"); code != 0 || !strings.Contains(out, "hots") {
		t.Errorf("exit status %d: %s", code, out)
	}
	if code, out, _ := labRun(t, "extcap", "--extcap-interface", name+"/n1", "--extcap-capture-filter", "host n1"); code != 0 || out != "" {
		t.Errorf("exit status %d: %s", code, out)
	}
}
