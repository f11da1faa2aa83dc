package suite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/wire"
)

const vlanLab = `
lab "vlans" {}
switch "sw" {
  subnet = "192.168.7.0/24"
  vlan "10" { subnet = "10.10.0.0/24" }
  vlan "20" { subnet = "10.20.0.0/24" }
}
host "own" {
  on "sw" {}
}
host "ten" {
  count = 2
  on "sw" { vlan = 10 }
}
host "twenty" {
  on "sw" { vlan = 20 }
}
host "trunk" {
  on "sw" { trunk = [10, 20] }
}
host "some" {
  on "sw" { trunk = 10 }
}
`

// TestVLANsAreKeptApart sends frames into the ports of a switch and listens at all of them. Whether the bridge or programs
// keep the VLANs apart is the kernel's matter.
func TestVLANsAreKeptApart(t *testing.T) {
	p := planned(t, parse(t, "vlans.hcl", vlanLab), "vlans", "")
	up(t, p)
	n := listenAll(t, p)
	const everybody = "ff:ff:ff:ff:ff:ff"
	for _, tt := range []struct {
		name     string
		from     string
		tag      int
		to       string         // everybody, or a machine
		heard    map[string]int // by whom, with which tag
		notHeard []string       // where only that is said: a frame to one machine may still be flooded in its segment
	}{
		{name: "from the switch's own segment", from: "own", to: everybody, heard: map[string]int{"trunk": 0, "some": 0}},
		{name: "from an access port", from: "ten1", to: everybody, heard: map[string]int{"ten2": 0, "trunk": 10, "some": 10}},
		{name: "from the other access port", from: "ten2", to: everybody, heard: map[string]int{"ten1": 0, "trunk": 10, "some": 10}},
		{name: "from a VLAN with one access port", from: "twenty", to: everybody, heard: map[string]int{"trunk": 20}},
		{name: "from a trunk, without a tag", from: "trunk", to: everybody, heard: map[string]int{"own": 0, "some": 0}},
		{name: "from a trunk, with a tag", from: "trunk", tag: 10, to: everybody, heard: map[string]int{"ten1": 0, "ten2": 0, "some": 10}},
		{name: "from a trunk, with another tag", from: "trunk", tag: 20, to: everybody, heard: map[string]int{"twenty": 0}},
		{name: "from a trunk, with a tag that the switch does not know", from: "trunk", tag: 30, to: everybody, heard: map[string]int{}},
		{name: "from a trunk that does not carry the VLAN", from: "some", tag: 20, to: everybody, heard: map[string]int{}},
		{name: "from an access port, with the tag of another VLAN", from: "ten1", tag: 20, to: everybody, heard: map[string]int{}},
		{name: "from the switch's own segment, with a tag", from: "own", tag: 10, to: everybody, heard: map[string]int{}},
		{name: "to a machine of the VLAN", from: "ten1", to: "ten2", heard: map[string]int{"ten2": 0}},
		{name: "to a machine of another VLAN", from: "ten1", to: "twenty", notHeard: []string{"twenty", "own"}},
		{name: "to a machine without a VLAN", from: "ten1", to: "own", notHeard: []string{"twenty", "own"}},
		{name: "from without a VLAN to a machine of one", from: "own", to: "ten1", notHeard: []string{"ten1", "ten2", "twenty"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := tt.to
			if to != everybody {
				to = n.mac(tt.to)
			}
			heard := map[string]int{}
			// A port lets frames pass once the kernel has noticed that its link is up.
			for deadline := time.Now().Add(3 * time.Second); ; {
				n.send(t, tt.from, to, tt.tag, heard)
				if len(heard) >= len(tt.heard) || time.Now().After(deadline) {
					break
				}
			}
			if tt.heard != nil {
				if diff := cmp.Diff(tt.heard, heard); diff != "" {
					t.Errorf("heard by:\n%s", diff)
				}
			}
			for _, m := range tt.notHeard {
				if tag, ok := heard[m]; ok {
					t.Errorf("%s heard it, with tag %d", m, tag)
				}
			}
		})
	}
}

// ears listen at the first interface of every machine.
type ears struct {
	plan     *plan.Plan
	places   map[string]*testbed.Place
	captures map[string]*wire.Capture
	sent     uint32
}

func listenAll(t *testing.T, p *plan.Plan) *ears {
	t.Helper()
	e := &ears{plan: p, places: map[string]*testbed.Place{}, captures: map[string]*wire.Capture{}}
	for _, m := range p.Cluster.Lab.Machines {
		place, err := testbed.Open(p.Cluster.NamespaceOf(m.Name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { place.Close() })
		capture, err := wire.Listen(place, "eth0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { capture.Close() })
		e.places[m.Name], e.captures[m.Name] = place, capture
	}
	return e
}

func (e *ears) mac(machine string) string {
	return e.plan.State.Get(plan.Key{Namespace: e.plan.Cluster.NamespaceOf(machine), Kind: plan.KindLink, Name: "eth0"}).(plan.Link).MAC
}

// send lets a machine send a frame, and notes who heard it, with which tag.
func (e *ears) send(t *testing.T, from, to string, tag int, heard map[string]int) {
	t.Helper()
	dst, err := net.ParseMAC(to)
	if err != nil {
		t.Fatal(err)
	}
	src, err := net.ParseMAC(e.mac(from))
	if err != nil {
		t.Fatal(err)
	}
	const experimental = 0x88b5 // IEEE 802: for local use
	frame := slices.Concat(dst, src)
	if tag != 0 {
		frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_8021Q)
		frame = binary.BigEndian.AppendUint16(frame, uint16(tag))
	}
	frame = binary.BigEndian.AppendUint16(frame, experimental)
	e.sent++
	payload := fmt.Appendf(nil, "a frame of a test, number %8d, long enough not to be padded", e.sent)
	frame = append(frame, payload...)
	if err := e.places[from].Do(func() error { return inject("eth0", frame) }); err != nil {
		t.Fatal(err)
	}
	quiet := time.Now().Add(100 * time.Millisecond)
	for m, capture := range e.captures {
		for {
			raw, err := capture.Receive(quiet)
			if err != nil {
				break
			}
			if raw.Out || !bytes.Contains(raw.Data, payload) {
				continue
			}
			heard[m] = 0
			if binary.BigEndian.Uint16(raw.Data[12:]) == unix.ETH_P_8021Q {
				heard[m] = int(binary.BigEndian.Uint16(raw.Data[14:]) & 0xfff)
			}
		}
	}
}

func inject(device string, frame []byte) error {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: dev.Index, Halen: 6})
}
