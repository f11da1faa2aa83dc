package check

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestPortsAreNew: one client's questions over UDP come from as many ports, and none from one that somebody has. By lot, of 600 ports
// among all that the kernel gives two would be the same in all but one of 500 runs.
func TestPortsAreNew(t *testing.T) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	q := &questions{protocol: "udp", to: server.LocalAddr().(*net.UDPAddr).AddrPort(), patience: time.Minute, again: time.Second, port: ports - 2}
	other, err := net.ListenUDP("udp4", &net.UDPAddr{Port: firstPort})
	if err == nil { // else somebody else has it
		defer other.Close()
	}
	seen := map[netip.AddrPort]bool{}
	go func() {
		b := make([]byte, 16)
		for {
			_, from, err := server.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = server.WriteToUDPAddrPort([]byte(from.String()), from)
		}
	}()
	for range 600 {
		text, err := q.once(t.Context())
		from, unread := netip.ParseAddrPort(text)
		if err != nil || unread != nil || seen[from] || from.Port() == firstPort {
			t.Fatalf("after %d questions one comes from %q: %v", len(seen), text, err)
		}
		seen[from] = true
	}
}
