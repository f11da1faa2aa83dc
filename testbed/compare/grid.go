package compare

import (
	"fmt"
	"slices"
	"time"

	"labnet/testbed/traffic"
)

// pathCost is the measure that ranks: the kernel's work for a message, see cost.go.
const pathCost = "path-cost"

// Generations is how many are measured unless it is said otherwise: at the spread of path cost they find a difference of 3 %
// in nine of ten comparisons, which a simulation on recorded noise among the tests of lab/report shows.
const Generations = 14

// curveGenerations is how many have the points of the curve in a default run: enough for intervals, and it ranks nothing.
const curveGenerations = 6

// A point is a kind of message whose round trip is timed.
type point struct {
	protocol traffic.Protocol
	size     int
	connect  bool // each over a connection of its own
	curve    bool // it has an interval, and no rank
	slices   int
}

func (p point) params() string {
	text := fmt.Sprintf("protocol=%s request=%d", map[traffic.Protocol]string{traffic.TCP: "tcp", traffic.UDP: "udp"}[p.protocol], p.size)
	switch {
	case p.connect:
		text += " connect"
	case p.curve:
		text += " curve"
	}
	return text
}

// How long a slice takes: of a ranking cell, and of a point of the curve. The connection is new, so a part of it is a warm-up.
const (
	slice = 200 * time.Millisecond
	brief = 100 * time.Millisecond
)

func (p point) takes() time.Duration {
	if p.curve || p.connect {
		return brief
	}
	return slice
}

// timing divides a slice.
func (p point) timing() traffic.Config {
	warmup := p.takes() / 10
	return traffic.Config{Warmup: warmup, Window: p.takes() - warmup - traffic.Tail, Congestion: congestion, Before: true}
}

// The first one ranks; it is fixed beforehand, as are those beside it.
var ranking = []point{
	{protocol: traffic.TCP, size: 512, slices: 2},
	{protocol: traffic.TCP, size: 1400, slices: 2},
	{protocol: traffic.UDP, size: 64, slices: 2},
	{protocol: traffic.TCP, size: 1, connect: true, slices: 1},
}

// Headers of a segment and of a datagram: TCP's with its timestamps.
const (
	tcpHeader = 20 + 12
	udpHeader = 8
)

// fewestUDP is the size of the smallest datagram: it has to say which one it is.
const fewestUDP = 8

// grid lists what is timed in a set: the ranking cells, and the points of the curve, the same for all modes. The steps of the
// curve are where a message no longer fits into a packet: segments are the sizes where that is, in any of the modes.
func grid(set string, segments []int) []point {
	if set == Quick {
		return ranking[:1]
	}
	all := slices.Clone(ranking)
	add := func(protocol traffic.Protocol, sizes ...int) {
		slices.Sort(sizes)
		for _, size := range slices.Compact(sizes) {
			if !slices.ContainsFunc(all, func(p point) bool { return p.protocol == protocol && p.size == size && !p.connect }) {
				all = append(all, point{protocol: protocol, size: size, curve: true, slices: 1})
			}
		}
	}
	tcp, udp := []int{1, 64, 512, 1400, 16 << 10, 64 << 10}, []int{fewestUDP, 64, 512, 1400, 16 << 10}
	for _, s := range segments {
		tcp = append(tcp, s, s+1)
		if set != Default {
			datagram := s + tcpHeader - udpHeader
			udp = append(udp, datagram, datagram+1)
		}
	}
	add(traffic.TCP, tcp...)
	add(traffic.UDP, udp...)
	return all
}
