package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Port is what a device is as a port of a bridge. A bridge that keeps VLANs apart can be in some itself.
type Port struct {
	Bridge     string
	Hairpin    bool   // it may send a frame back where it came from
	NoLearning bool   // it does not learn who is behind it
	VLANs      string // where the bridge keeps them apart, as bridge(8) writes it: "1 pvid untagged, 10, 20"
}

func (p Port) joining() string {
	if p.Bridge == "" {
		return " nomaster"
	}
	return " master " + p.Bridge
}

// lines are what is set on a port that was like before.
func (p Port) lines(l Link, before Port) []string {
	self := "" // what bridge(8) wants to be told when the bridge itself is meant
	if _, is := l.Device.(Bridge); is {
		self = " self"
	}
	var lines []string
	leave, join := p.ChangeVLANs(before)
	for _, v := range leave {
		lines = append(lines, fmt.Sprintf("bridge -n %s vlan del dev %s vid %d%s", l.Namespace, l.Name, v.ID, self))
	}
	for _, v := range join {
		lines = append(lines, fmt.Sprintf("bridge -n %s vlan add dev %s vid %s%s", l.Namespace, l.Name, v, self))
	}
	if p.Hairpin != before.Hairpin {
		lines = append(lines, fmt.Sprintf("bridge -n %s link set dev %s hairpin %s", l.Namespace, l.Name, onOff(p.Hairpin)))
	}
	if p.NoLearning != before.NoLearning {
		lines = append(lines, fmt.Sprintf("bridge -n %s link set dev %s learning %s", l.Namespace, l.Name, onOff(!p.NoLearning)))
	}
	return lines
}

// PortVLAN is a VLAN that a bridge's port is in.
type PortVLAN struct {
	ID       int
	PVID     bool // frames that come in without a tag are of this VLAN
	Untagged bool // frames go out without its tag
}

func (v PortVLAN) String() string {
	s := strconv.Itoa(v.ID)
	if v.PVID {
		s += " pvid"
	}
	if v.Untagged {
		s += " untagged"
	}
	return s
}

// PortVLANs writes VLANs as [Port] has them.
func PortVLANs(list []PortVLAN) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.String()
	}
	return strings.Join(words, ", ")
}

func (p Port) list() []PortVLAN {
	var list []PortVLAN
	for word := range strings.SplitSeq(p.VLANs, ", ") {
		id, flags, _ := strings.Cut(word, " ")
		if n, err := strconv.Atoi(id); err == nil {
			list = append(list, PortVLAN{n, strings.Contains(flags, "pvid"), strings.Contains(flags, "untagged")})
		}
	}
	return list
}

// ChangeVLANs returns which VLANs a port has to leave and then to join to become as wanted.
func (p Port) ChangeVLANs(before Port) (leave, join []PortVLAN) {
	was, is := before.list(), p.list()
	for _, v := range was {
		if !slices.Contains(is, v) {
			leave = append(leave, v)
		}
	}
	for _, v := range is {
		if !slices.Contains(was, v) {
			join = append(join, v)
		}
	}
	return leave, join
}
