package datapath

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

// devices of a namespace where eth0 is 2 and every other device 3.
func devices(name string) (int, error) {
	if name == "eth0" {
		return 2, nil
	}
	return 3, nil
}

var programs = []plan.Program{
	{Does: "ipip-encap", Local: netip.MustParseAddr("192.168.205.4")},
	{Does: "ipip-decap", Local: netip.MustParseAddr("192.168.205.4"), To: "tunl0"},
	{Does: "vlan-push", VLAN: 10, To: "eth0"},
	{Does: "vlan-pop", VLAN: 10, To: "eth0.10"},
	{Does: "bridge-enter", To: "cni0-in"},
}

// TestGolden holds the programs against what was reviewed. That the kernel takes them is shown where they are attached.
func TestGolden(t *testing.T) {
	if network(1) == 1 {
		t.Skip("the listings are those of a little-endian machine")
	}
	for _, p := range programs {
		t.Run(p.Does, func(t *testing.T) {
			program, err := Program(p, devices)
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%v", program)
			file := filepath.Join("testdata", p.Does+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (go test ./testbed/datapath -update writes it anew):\n%s", file, diff)
			}
		})
	}
}

// TestTag: a program is known by its tag, and any other constant makes another program.
func TestTag(t *testing.T) {
	tags := map[string]string{}
	for _, p := range append(programs,
		plan.Program{Does: "ipip-encap", Local: netip.MustParseAddr("192.168.205.5")},
		plan.Program{Does: "ipip-decap", Local: netip.MustParseAddr("192.168.205.4"), To: "eth0"},
		plan.Program{Does: "vlan-push", VLAN: 11, To: "eth0"},
		plan.Program{Does: "vlan-push", VLAN: 10, To: "eth1"},
		plan.Program{Does: "vlan-pop", VLAN: 11, To: "eth0.10"},
		plan.Program{Does: "bridge-enter", To: "eth0"},
	) {
		name := strings.Join(p.Add(), "")
		program, err := Program(p, devices)
		if err != nil {
			t.Fatal(err)
		}
		if HasTag(program, "0000000000000000") {
			t.Errorf("%s has any tag", name)
		}
		if err := program.Marshal(io.Discard, binary.LittleEndian); err != nil {
			t.Fatal(err)
		}
		tag, err := program.Tag(binary.LittleEndian) //lint:ignore SA1019 an older kernel's tag is as good here
		if err != nil {
			t.Fatal(err)
		}
		again, _ := Program(p, devices)
		if !HasTag(again, tag) {
			t.Errorf("%s, written again, is not known by its tag", name)
		}
		if other := tags[tag]; other != "" {
			t.Errorf("%s and %s have the same tag", name, other)
		}
		tags[tag] = name
	}
}

func TestWhatIsMissing(t *testing.T) {
	local := netip.MustParseAddr("192.0.2.1")
	gone := errors.New("no such device")
	for _, tt := range []struct {
		p    plan.Program
		want string
	}{
		{plan.Program{Does: "ipip-encap"}, "needs the IPv4 address of this end"},
		{plan.Program{Does: "ipip-encap", Local: netip.MustParseAddr("fd00::1")}, "needs the IPv4 address of this end"},
		{plan.Program{Does: "ipip-decap", To: "eth0"}, "needs the IPv4 address of this end"},
		{plan.Program{Does: "ipip-decap", Local: local}, "and the device where packets arrive"},
		{plan.Program{Does: "vlan-push", To: "eth0"}, "needs a VLAN from 1 to 4094"},
		{plan.Program{Does: "vlan-pop", VLAN: 4095, To: "eth0"}, "needs a VLAN from 1 to 4094"},
		{plan.Program{Does: "vlan-pop", VLAN: 10}, "the device that packets go to"},
		{plan.Program{Does: "bridge-enter"}, "needs the bridge's port"},
		{plan.Program{Does: "bridge-enter", To: "gone"}, gone.Error()},
		{plan.Program{Does: "magic"}, `no program "magic"`},
	} {
		_, err := Program(tt.p, func(name string) (int, error) {
			if name == "gone" {
				return 0, gone
			}
			return 2, nil
		})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, not %q", tt.p.Does, err, tt.want)
		}
	}
}
