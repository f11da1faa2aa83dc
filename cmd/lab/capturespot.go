package main

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/packet"
	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/wire"
)

// underlay is the target that means all of it.
const underlay = "all"

// spot is a namespace of which some devices are captured at.
type spot struct {
	title   string // worker1, worker1/p1, lan
	place   *testbed.Place
	known   []wire.Device
	wanted  map[string]bool // devices, and whether only what they send counts
	all     bool            // all devices but lo, also those that come later
	unknown map[int]bool    // numbers of devices that are gone
}

// spots finds what targets mean.
func (c *command) spots(cmd *cobra.Command, labName string, p *plan.Plan, targets []string) (all []*spot, err error) {
	defer func() {
		if err != nil {
			closeSpots(all)
		}
	}()
	at := func(title string) (*spot, error) {
		if i := slices.IndexFunc(all, func(s *spot) bool { return s.title == title }); i >= 0 {
			return all[i], nil
		}
		place, err := testbed.OpenTarget(labName, title)
		if errors.Is(err, os.ErrNotExist) {
			return nil, c.unknownTarget(cmd, labName, title)
		}
		if err != nil {
			return nil, err
		}
		s := &spot{title: title, place: place, wanted: map[string]bool{}, unknown: map[int]bool{}}
		all = append(all, s)
		s.known, err = wire.Devices(place)
		return s, err
	}
	for _, target := range targets {
		title, device, one := strings.Cut(target, ":")
		if title == underlay && !one && (p == nil || !slices.ContainsFunc(p.Cluster.Lab.Machines, func(m *lab.Machine) bool { return m.Name == underlay })) {
			if p == nil {
				return all, refuse("which interfaces are the underlay is not known without the lab's definition; name the machines")
			}
			for _, m := range p.Cluster.Lab.Machines {
				s, err := at(m.Name)
				if err != nil {
					return all, err
				}
				for _, nic := range m.Interfaces {
					if _, both := s.wanted[nic.Name]; !both && s.has(nic.Name) {
						s.wanted[nic.Name] = true
					}
				}
			}
			continue
		}
		s, err := at(title)
		if err != nil {
			return all, err
		}
		switch {
		case !one:
			s.all = true
		case !s.has(device):
			return all, refuse("%s has no device %q.%s", title, device, lab.Suggest(device, s.devices(), "It has"))
		default:
			s.wanted[device] = false
		}
	}
	for _, s := range all {
		if len(s.interfaces()) == 0 {
			return all, refuse("%s has no device but lo; \"%s:lo\" means that one", s.title, s.title)
		}
	}
	return all, nil
}

func closeSpots(all []*spot) {
	for _, s := range all {
		s.place.Close()
	}
}

func (s *spot) has(device string) bool { return slices.Contains(s.devices(), device) }

func (s *spot) devices() []string {
	var names []string
	for _, d := range s.known {
		names = append(names, d.Name)
	}
	return names
}

// source is where to listen: at the only device, or else at all of them, so that the order is the kernel's.
func (s *spot) source() wire.Source {
	if !s.all && len(s.wanted) == 1 {
		for device := range s.wanted {
			return wire.Source{Place: s.place, Device: device}
		}
	}
	return wire.Source{Place: s.place}
}

// wants reports whether packets of a device count.
func (s *spot) wants(device string, out bool) bool {
	onlySent, named := s.wanted[device]
	switch {
	case device == "lo": // what it sends comes in again
		return named && !out
	case s.all:
		return true
	}
	return named && (out || !onlySent)
}

// device finds the device of a frame, if it is one that counts.
func (s *spot) device(r wire.Raw) (packet.Interface, bool) {
	find := func() int {
		return slices.IndexFunc(s.known, func(d wire.Device) bool { return d.Index == r.Index })
	}
	i := find()
	if i < 0 && !s.unknown[r.Index] {
		if known, err := wire.Devices(s.place); err == nil {
			for _, d := range known {
				if !slices.ContainsFunc(s.known, func(o wire.Device) bool { return o.Index == d.Index }) {
					s.known = append(s.known, d)
				}
			}
		}
		if i = find(); i < 0 {
			s.unknown[r.Index] = true
		}
	}
	if i < 0 || !s.wants(s.known[i].Name, r.Out) {
		return packet.Interface{}, false
	}
	return s.named(s.known[i]), true
}

func (s *spot) named(d wire.Device) packet.Interface {
	return packet.Interface{Name: s.title + "/" + d.Name, Bare: d.Bare}
}

// interfaces are the devices that count and are there.
func (s *spot) interfaces() []packet.Interface {
	var all []packet.Interface
	for _, d := range s.known {
		if s.wants(d.Name, true) || s.wants(d.Name, false) {
			all = append(all, s.named(d))
		}
	}
	return all
}

// placesOf names where a capture is.
func placesOf(spots []*spot) string {
	const few = 6
	var names []string
	for _, s := range spots {
		for _, i := range s.interfaces() {
			names = append(names, i.Name)
		}
	}
	if len(names) > few {
		names = append(names[:few-1], count(len(names)-few+1, "more device"))
	}
	return lab.Enumerate(names, "and")
}

// completeCapture offers targets, the devices of one, and behind "--" the words of filters.
func (c *command) completeCapture(labName *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if last := len(c.args) - 1; last >= 0 && slices.Contains(c.args[:last], "--") { // cobra adds one of its own

			return packet.FilterWords, cobra.ShellCompDirectiveNoFileComp
		}
		if target, _, ok := strings.Cut(typed, ":"); ok {
			return devicesOf(*labName, target), cobra.ShellCompDirectiveNoFileComp
		}
		words, rule := completeTarget(labName)(cmd, nil, typed)
		words = slices.DeleteFunc(append(words, underlay), func(w string) bool { return slices.Contains(args, w) })
		return words, rule
	}
}

// devicesOf are those of a target, as they are written behind it; nothing where they cannot be asked for.
func devicesOf(labName, target string) []string {
	if labName == "" {
		labName, _ = testbed.Only()
	}
	place, err := testbed.OpenTarget(labName, target)
	if err != nil {
		return nil
	}
	defer place.Close()
	var words []string
	known, _ := wire.Devices(place)
	for _, d := range known {
		words = append(words, target+":"+d.Name)
	}
	return words
}
