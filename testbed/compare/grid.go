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
	slices   int  // of a generation
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

// slice is how long one takes. The connection is new, so a part of it is a warm-up. Nothing is cut off its end: the next
// request is sent when the one before is answered, so that no tail of a stopping sender is in it.
//
// What else the host has to do slows everything down by a tenth to a half, for a tenth of a second to a few seconds: slices
// are short and many, so that a part of a generation's is spared.
const slice = 35 * time.Millisecond

// How many slices a generation has: of a ranking cell, and of a point of the curve.
const (
	ranked = 8
	curved = 3
)

// timing divides a slice.
var timing = traffic.Config{Warmup: slice / 10, Window: slice * 9 / 10, Tail: time.Nanosecond, Congestion: congestion, Before: true}

// The first one ranks; it is fixed beforehand, as are those beside it.
var ranking = []point{
	{protocol: traffic.TCP, size: 512, slices: ranked},
	{protocol: traffic.TCP, size: 1400, slices: ranked},
	{protocol: traffic.UDP, size: 64, slices: ranked},
	{protocol: traffic.TCP, size: 1, connect: true, slices: ranked},
}

// Headers of a segment and of a datagram: TCP's with its timestamps.
const (
	tcpHeader = 20 + 12
	udpHeader = 8
)

// due says whether a cell has a slice in a turn, so that those of a generation are spread over it.
func (p point) due(turn int) bool { return (turn+1)*p.slices/ranked > turn*p.slices/ranked }

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
				all = append(all, point{protocol: protocol, size: size, curve: true, slices: curved})
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
