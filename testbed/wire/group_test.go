package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/packet"
	"labnet/testbed"
)

// toPort9 is what "tcpdump -ddd -i lo udp dst port 9 and ip" prints.
var toPort9 = []unix.SockFilter{
	{Code: 40, K: 12}, {Code: 21, Jf: 8, K: 2048}, {Code: 48, K: 23}, {Code: 21, Jf: 6, K: 17}, {Code: 40, K: 20}, {Code: 69, Jt: 4, K: 8191},
	{Code: 177, K: 14}, {Code: 72, K: 16}, {Code: 21, Jf: 1, K: 9}, {Code: 6, K: 262144}, {Code: 6},
}

// pair makes two namespaces with a veth between them, and what sends so many numbered packets from one to the other.
func pair(t *testing.T) (a, b *testbed.Place, send func(n int)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	const script = `
	ip netns add ck-a; ip netns add ck-b
	ip -n ck-a link add v1 type veth peer name v2 netns ck-b
	ip -n ck-a link set v1 up; ip -n ck-b link set v2 up
	ip -n ck-a address add 10.9.0.1/24 dev v1; ip -n ck-b address add 10.9.0.2/24 dev v2`
	clean := func() { _ = exec.Command("sh", "-c", "ip netns del ck-a; ip netns del ck-b").Run() }
	clean()
	t.Cleanup(clean)
	if out, err := exec.Command("sh", "-euc", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	open := func(name string) *testbed.Place {
		place, err := testbed.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { place.Close() })
		return place
	}
	a, b = open("ck-a"), open("ck-b")
	var conn net.Conn
	if err := a.Do(func() (err error) { conn, err = net.Dial("udp", "10.9.0.2:9"); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	next := uint32(0)
	return a, b, func(n int) {
		for range n {
			for { // an ICMP error of the packet before
				if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, next)); err == nil {
					break
				}
			}
			next++
		}
	}
}

// number is that of one of the packets.
func number(r Raw) int {
	return int(binary.BigEndian.Uint32(packet.Decode(r.Data, packet.Options{}).Inner().Payload))
}

// TestGroup: two places, each with one socket; every packet is there once in each, in the order of time, and first where it is sent.
func TestGroup(t *testing.T) {
	a, b, send := pair(t)
	g, err := Together([]Source{{Place: b}, {Place: a, Device: "v1"}}, Options{SnapLen: 1000, Program: toPort9})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	const n, few = 2000, 100
	var arrived atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		for sent := few; sent <= n; sent += few { // no more than the receiver's queue holds
			for send(few); arrived.Load() < int64(sent); {
				time.Sleep(100 * time.Microsecond)
			}
		}
		send(1) // what was sent before the end must be there
	}()
	next := [2]int{}
	var last time.Time
	idle := 0
	err = g.Each(ctx, func(source int, r Raw) error {
		if i := number(r); i != next[source] || r.Time.Before(last) || r.Out != (source == 1) || r.Index == 0 || r.Bare {
			return fmt.Errorf("source %d, packet %d instead of %d: %+v, after %v", source, i, next[source], r, last)
		}
		next[source]++
		if next[1] < next[0] {
			return fmt.Errorf("packet %d has come before it was sent", next[0]-1)
		}
		last = r.Time
		arrived.Store(int64(next[0]))
		return nil
	}, func() error { idle++; return nil })
	if lost, e := g.Lost(); err != nil || e != nil || lost != 0 || next[1] != n+1 || next[0] < n || idle == 0 {
		t.Errorf("%v, %v: %d lost, seen %d, idle %d times", err, e, lost, next, idle)
	}
}

// TestGroupCountsWhatItLoses: what is seen and what is lost are together what was sent, however fast it comes.
func TestGroupCountsWhatItLoses(t *testing.T) {
	a, _, send := pair(t)
	g, err := Together([]Source{{Place: a, Device: "v1"}}, Options{SnapLen: 100, Buffer: 64 << 10, Program: toPort9})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	const n = 3000
	send(n) // and nobody takes them
	ctx, cancel := context.WithCancel(context.Background())
	seen := 0
	err = g.Each(ctx, func(int, Raw) error { seen++; return nil }, func() error { cancel(); return nil })
	lost, e := g.Lost()
	if err != nil || e != nil || seen == 0 || lost == 0 || seen+int(lost) != n {
		t.Errorf("%v, %v: %d seen and %d lost of %d", err, e, seen, lost, n)
	}
	again, _ := g.Lost()
	if again != lost {
		t.Errorf("asked again: %d lost", again)
	}
}

// TestGroupEnds: by an error of its caller's, which it returns.
func TestGroupEnds(t *testing.T) {
	_, b, send := pair(t)
	g, err := Together([]Source{{Place: b}}, Options{SnapLen: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	send(3)
	enough := errors.New("enough")
	if err := g.Each(context.Background(), func(int, Raw) error { return enough }, func() error { return nil }); err != enough {
		t.Error(err)
	}
	if _, err := Together([]Source{{Place: b, Device: "nothing"}}, Options{SnapLen: 100}); err == nil {
		t.Error("a device that is not there")
	}
	if _, err := Together([]Source{{Place: b}}, Options{SnapLen: 100, Program: []unix.SockFilter{{Code: 21, Jt: 9}}}); err == nil {
		t.Error("a program that jumps out of itself")
	}
}

// TestDevices: their names, and which have no addresses of their own.
func TestDevices(t *testing.T) {
	a, _, _ := pair(t)
	if out, err := exec.Command("ip", "-n", "ck-a", "tuntap", "add", "bare0", "mode", "tun").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all, err := Devices(a)
	if err != nil {
		t.Fatal(err)
	}
	bare := map[string]bool{}
	for _, d := range all {
		bare[d.Name] = d.Bare
		if d.Index == 0 {
			t.Errorf("%+v", d)
		}
	}
	if _, there := bare["lo"]; !there || bare["lo"] || bare["v1"] || !bare["bare0"] {
		t.Errorf("%+v", all)
	}
}
