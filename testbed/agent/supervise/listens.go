package supervise

import (
	"fmt"
	"slices"

	"labnet/testbed"
)

// listens reports whether somebody listens on a port (tcp/8080) in the place, at whatever address.
func listens(p *testbed.Place, socket string) bool {
	all, err := testbed.Listeners(p)
	return err == nil && slices.ContainsFunc(all, func(l testbed.Listener) bool {
		return fmt.Sprintf("%s/%d", l.Protocol, l.At.Port()) == socket
	})
}
