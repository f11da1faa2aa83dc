package trace

import (
	"strings"
	"testing"
	"time"
)

// saw is the sights of one packet after the other: "MACHINE EVENT DEVICE PACKET".
func saw(t *testing.T, lines ...string) []Sight {
	t.Helper()
	events := map[string]Event{"in": Came, "out": Left, "drop": Dropped, "take": Consumed}
	var sights []Sight
	for i, line := range lines {
		words := strings.Fields(line)
		event, ok := events[words[1]]
		if !ok || len(words) != 4 {
			t.Fatal(line)
		}
		sights = append(sights, Sight{
			At: At{"lab." + words[0], words[2]}, Machine: words[0], Event: event, Time: time.Duration(i+1) * time.Microsecond, Packet: uint64(words[3][0]),
		})
	}
	return sights
}

// TestProgramsPassPacketsOn: two programs read the packet and write it again, as flannel's proxies do. The kernel may put what
// they write where the packet was that they read, or any other that has ended; the way is the same.
func TestProgramsPassPacketsOn(t *testing.T) {
	m := &Map{Wires: map[At]At{}}
	for _, wire := range [][2]At{
		{{"lab.a.p", "eth0"}, {"lab.a", "veth"}}, {{"lab.b", "veth"}, {"lab.b.p", "eth0"}}, {{"lab.a", "eth0"}, {"lab.b", "eth0"}},
	} {
		m.Wires[wire[0]], m.Wires[wire[1]] = wire[1], wire[0]
	}
	const want = "a.p eth0, a veth, a flannel0, a eth0, b eth0, b flannel0, b veth, b.p eth0"
	for _, packets := range []string{"XYZ", "XXX", "XYX", "XXY", "XYY"} {
		x, y, z := packets[:1], packets[1:2], packets[2:]
		paths := Paths(saw(t,
			"a.p out eth0 "+x, "a in veth "+x, "a out flannel0 "+x, "a take flannel0 "+x,
			"a out eth0 "+y, "b in eth0 "+y, "b take eth0 "+y,
			"b in flannel0 "+z, "b out veth "+z, "b.p in eth0 "+z, "b.p take eth0 "+z), Probe, m)
		var way []string
		for _, s := range best(paths, "lab.b.p") {
			if s.Event == Came || s.Event == Left {
				way = append(way, s.Machine+" "+s.Device)
			}
		}
		if got := strings.Join(way, ", "); got != want {
			t.Errorf("%s: %s", packets, got)
		}
	}
}
