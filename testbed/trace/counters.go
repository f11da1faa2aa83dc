package trace

import (
	"os"
	"strconv"
	"strings"

	"labnet/testbed"
)

// counters are those of a namespace, as nstat(8) names them.
type counters map[string]uint64

// telling are the counters that tell why a packet was thrown away, and the kernel's word for it. The first that has moved is
// the reason.
var telling = []struct{ counter, reason string }{
	{"TcpExtIPReversePathFilter", "IP_RPFILTER"},
	{"IpInAddrErrors", "IP_INADDRERRORS"},
	{"IpExtInNoRoutes", "IP_INNOROUTES"},
	{"IpOutNoRoutes", "IP_OUTNOROUTES"},
	{"IpFragFails", "PKT_TOO_BIG"},
	{"IpInHdrErrors", "IP_INHDR"},
	{"IpInUnknownProtos", "IP_NOPROTO"},
	{"UdpNoPorts", "NO_SOCKET"},
	{"Ip6InNoRoutes", "IP_INNOROUTES"},
	{"Ip6OutNoRoutes", "IP_OUTNOROUTES"},
	{"Ip6InTooBigErrors", "PKT_TOO_BIG"},
	{"Ip6InHdrErrors", "IP_INHDR"},
	{"Ip6InAddrErrors", "IP_INADDRERRORS"},
	{"Ip6InUnknownProtos", "IP_NOPROTO"},
	{"Udp6NoPorts", "NO_SOCKET"},
}

// count reads the counters of the namespace in which the thread is.
func count() counters {
	c := counters{}
	for _, file := range []string{"snmp", "netstat", "snmp6"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			continue // IPv6 is off, or proc is not there: then nothing is told
		}
		c.read(string(text))
	}
	return c
}

// read reads both forms: a line of names and one of values behind one word, and a name and a value in a line.
func (c counters) read(text string) {
	var names []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		group, grouped := strings.CutSuffix(words[0], ":")
		switch {
		case !grouped && len(words) == 2:
			c[words[0]], _ = strconv.ParseUint(words[1], 10, 64)
		case grouped && (names == nil || names[0] != words[0]):
			names = words
		case grouped:
			for i, w := range words[1:min(len(words), len(names))] {
				c[group+names[i+1]], _ = strconv.ParseUint(w, 10, 64)
			}
			names = nil
		}
	}
}

// moved is the reason that the counters of a namespace tell, for a packet since it is watched.
func (t *tap) moved() string {
	place, err := testbed.Open(t.name)
	if err != nil {
		return ""
	}
	defer place.Close()
	var now counters
	_ = place.Do(func() error {
		now = count()
		return nil
	})
	for _, c := range telling {
		if now[c.counter] > t.before[c.counter] {
			return c.reason
		}
	}
	return ""
}
