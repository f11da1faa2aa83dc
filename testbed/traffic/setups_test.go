package traffic

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestSetups: every connection that counts stands, and so does the one that is kept; nothing is left in TIME_WAIT. Where nobody
// listens the error says so at once.
func TestSetups(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		for _, kept := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, kept %v", address, kept), func(t *testing.T) {
				cfg := loopback(address, 100*time.Millisecond)
				cfg.Server.CPU = cfg.Client.CPU
				to := netip.AddrPortFrom(cfg.Server.Addr, 18231)
				waiting := timeWait(t)
				r, err := RunSetups(t.Context(), cfg, Setups{To: to, Port: to.Port(), Servers: []Side{cfg.Server}, Kept: kept})
				if err != nil {
					t.Fatal(err)
				}
				if r.Count == 0 || r.Count != r.Latency.Count() || r.Latency.Middle() <= 0 {
					t.Errorf("%d, %d in the histogram, of %s", r.Count, r.Latency.Count(), r.Latency.Middle())
				}
				if now := timeWait(t); now > waiting+20 {
					t.Errorf("%d connections in TIME_WAIT became %d", waiting, now)
				}
				start := time.Now()
				_, err = RunSetups(t.Context(), cfg, Setups{To: to, Port: to.Port() + 1, Servers: []Side{cfg.Server}, Kept: kept})
				if err == nil || !strings.Contains(err.Error(), "connect: connection refused") || time.Since(start) > hangs {
					t.Errorf("nobody listens there: %v, after %s", err, time.Since(start))
				}
			})
		}
	}
}
