package supervise

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"labnet/testbed"
)

// States of a socket in /proc/net (include/net/tcp_states.h): one of TCP that listens, and one of UDP that is bound.
const (
	tcpListen = 0x0A
	udpBound  = 0x07
)

// listens reports whether somebody listens on a port (tcp/8080) in the place, at whatever address. It asks nobody: a connection
// would be the program's first.
func listens(p *testbed.Place, socket string) bool {
	protocol, digits, _ := strings.Cut(socket, "/")
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return false
	}
	state := uint64(tcpListen)
	if protocol == "udp" {
		state = udpBound
	}
	found := false
	_ = p.Do(func() error {
		for _, family := range []string{"", "6"} {
			found = found || bound("/proc/thread-self/net/"+protocol+family, port, state)
		}
		return nil
	})
	return found
}

// bound looks for a socket in a table of /proc/net: "sl local_address rem_address st …", in hexadecimal.
func bound(path string, port, state uint64) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	suffix := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 4 || !strings.HasSuffix(words[1], suffix) {
			continue
		}
		if st, err := strconv.ParseUint(words[3], 16, 8); err == nil && st == state {
			return true
		}
	}
	return false
}
