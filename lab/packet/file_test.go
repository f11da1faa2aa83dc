package packet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// TestFile: what is written is read again: interfaces, also one that came later, packets, comments, names, what was lost.
func TestFile(t *testing.T) {
	var out bytes.Buffer
	names := map[netip.Addr]string{}
	for i, name := range []string{"a", "ab", "abc", "worker1", "worker1/p1"} { // of all lengths, for the padding
		names[netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})] = name
		names[netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i)})] = name
	}
	eth0, tun, late := Interface{Name: "worker1/eth0", SnapLen: 100}, Interface{Name: "worker1/flannel0", Bare: true}, Interface{Name: "worker1/late"}
	f, err := NewFile(&out, About{Program: "lab", Comment: "lab three-node", Names: names}, eth0, tun)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Date(2026, 11, 25, 12, 0, 0, 123456789, time.UTC)
	frame := bytesOf(t, mac, ip4, pods)
	for i, at := range []Interface{eth0, tun, late, eth0} {
		if err := f.Write(at, begun.Add(time.Duration(i)), i%2 == 0, frame[:len(frame)-i], len(frame), strings.Repeat("c", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Lost(4, 7, begun), f.Flush()); err != nil {
		t.Fatal(err)
	}
	lost := uint64(0)
	r, err := pcapgo.NewNgReader(&out, pcapgo.NgReaderOptions{WantMixedLinkType: true, StatisticsCallback: func(_ int, s pcapgo.NgInterfaceStatistics) { lost = s.PacketsDropped }})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		data, info, more, err := r.ReadPacketDataWithOptions()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		at, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		i := len(got)
		if !bytes.Equal(data, frame[:len(frame)-i]) || info.Length != len(frame) || !info.Timestamp.Equal(begun.Add(time.Duration(i))) {
			t.Errorf("packet %d: %+v", i, info)
		}
		got = append(got, fmt.Sprint(at.Name, " ", at.LinkType, " ", strings.Join(more.Comments, ""), " ", more.Flags.Direction))
	}
	want := []string{"worker1/eth0 Ethernet  2", "worker1/flannel0 Raw c 1", "worker1/late Ethernet cc 2", "worker1/eth0 Ethernet ccc 1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if first, _ := r.Interface(0); first.SnapLength != 100 || first.LinkType != layers.LinkTypeEthernet {
		t.Errorf("%+v", first)
	}
	if r.SectionInfo().Comment != "lab three-node" || lost != 7 || r.NNames() != len(names) {
		t.Errorf("%+v, %d lost, %d names", r.SectionInfo(), lost, r.NNames())
	}
	for i := range r.NNames() {
		n, _ := r.Name(i)
		var a netip.Addr
		switch v := n.Addr.(type) {
		case *pcapgo.NgIPAddress:
			a = v.Addr
		}
		if len(n.Names) != 1 || n.Names[0] != names[a] {
			t.Errorf("%v: %q", n.Addr, n.Names)
		}
	}
}
