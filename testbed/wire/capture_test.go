package wire

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"labnet/testbed"
)

// TestCapture sends a packet out of an interface and in at another.
func TestCapture(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	const ns = "ck-wire"
	_ = exec.Command("ip", "netns", "del", ns).Run()
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	script := `ip netns add ck-wire
	ip -n ck-wire link add v1 type veth peer name v2
	ip -n ck-wire link set v2 up
	ip -n ck-wire link set v1 up
	ip -n ck-wire address add 10.9.0.1/24 dev v1
	ip -n ck-wire neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev v1`
	if out, err := exec.Command("sh", "-euc", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	place, err := testbed.Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	if _, err := Listen(place, "nothing"); err == nil {
		t.Error("a device that is not there can be captured on")
	}
	captures := map[string]*Capture{}
	for _, device := range []string{"v1", "v2"} {
		if captures[device], err = Listen(place, device); err != nil {
			t.Fatal(err)
		}
		defer captures[device].Close()
	}
	if err := place.Do(func() error {
		conn, err := net.Dial("udp", "10.9.0.2:9")
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("lab!"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for device, out := range map[string]bool{"v1": true, "v2": false} {
		f := first(t, captures[device])
		if f.Out != out || f.Length != 32 || f.Outer.DstPort != 9 || string(f.Outer.Payload) != "lab!" {
			t.Errorf("%s: %+v", device, f)
		}
		if lost, err := captures[device].Lost(); lost > 0 || err != nil {
			t.Errorf("%s lost %d frames, %v", device, lost, err)
		}
	}
	for _, deadline := range []time.Time{time.Unix(1, 0), time.Now().Add(5 * time.Millisecond)} {
		for {
			if _, err = captures["v2"].Receive(deadline); err != nil {
				break
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a drained capture: %v", err)
		}
	}
}

// first returns the first UDP packet over IPv4; the kernel sends IPv6 of its own accord.
func first(t *testing.T, c *Capture) Frame {
	t.Helper()
	for {
		raw, err := c.Receive(time.Now().Add(10 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if f, err := raw.Decode(); err == nil && f.Outer.Proto == 17 && f.Outer.Src.Is4() {
			return f
		}
	}
}

// TestTagIsRestored: the kernel has taken the tag out of the frame and tells it apart.
func TestTagIsRestored(t *testing.T) {
	aux := unix.TpacketAuxdata{Status: unix.TP_STATUS_VLAN_VALID | unix.TP_STATUS_GSO_TCP, Vlan_tci: 0x6064, Vlan_tpid: 0x8100}
	size := int(unsafe.Sizeof(aux))
	oob := make([]byte, unix.CmsgSpace(size))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.SOL_PACKET, unix.PACKET_AUXDATA
	h.SetLen(unix.CmsgLen(size))
	*(*unix.TpacketAuxdata)(unsafe.Pointer(&oob[unix.CmsgLen(0)])) = aux

	data := frame(t, mac, ip4, pods)
	r := restore(Raw{Length: 9000, Data: data}, oob)
	if want := frame(t, mac, tag, ip4, pods); !bytes.Equal(r.Data, want) || r.Length != 9004 || !r.Super {
		t.Errorf("%+v\nwant %x", r, want)
	}
}
