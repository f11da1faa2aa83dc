package plan

import (
	"net/netip"
	"strings"
	"testing"
)

// TestProgramsReadWhatTheyPrint: the lines of a plan are also what is typed.
func TestProgramsReadWhatTheyPrint(t *testing.T) {
	for _, p := range []Program{
		{Namespace: "l.n", Link: "tunl0", Egress: true, Priority: 1, Does: "ipip-encap", Local: netip.MustParseAddr("192.0.2.1")},
		{Namespace: "l.n", Link: "eth0", Priority: 1, Does: "ipip-decap", To: "tunl0", Local: netip.MustParseAddr("192.0.2.1")},
		{Namespace: "l.n", Link: "eth0", Priority: 1010, Does: "vlan-pop", To: "eth0.10", VLAN: 10},
	} {
		line, ok := strings.CutPrefix(p.Add()[0], "lab program add ")
		got, err := ParseProgram(strings.Fields(line))
		if !ok || err != nil || got != p {
			t.Errorf("%s is read as %+v: %v", p.Add()[0], got, err)
		}
	}
	for _, line := range []string{
		"", "--namespace l.n", "--namespace l.n dev eth0 ingress pref one vlan-pop", "--namespace l.n dev eth0 ingress pref 1 vlan-pop to",
		"--namespace l.n dev eth0 ingress pref 1 vlan-pop vlan ten", "--namespace l.n dev eth0 ingress pref 1 ipip-decap local here",
		"--namespace l.n dev eth0 sideways pref 1 vlan-pop", "--namespace l.n dev eth0 ingress pref 1 vlan-pop colour red",
	} {
		if p, err := ParseProgram(strings.Fields(line)); err == nil {
			t.Errorf("%q is read as %+v", line, p)
		}
	}
}

// TestPermanent: only the kernel's own device of that name stays; another of the name is like any other.
func TestPermanent(t *testing.T) {
	for _, tt := range []struct {
		link Link
		want string
	}{
		{Link{Namespace: "l.n", Name: "tunl0", Device: IPIP{}}, "ip -n l.n address flush dev tunl0; ip -n l.n link set dev tunl0 down"},
		{Link{Namespace: "l.n", Name: "tunl0", Device: IFB{}}, "ip -n l.n link del dev tunl0"},
		{Link{Namespace: "l.n", Name: "flannel.ipip", Device: IPIP{}}, "ip -n l.n link del dev flannel.ipip"},
	} {
		if got := strings.Join(tt.link.Del(), "; "); got != tt.want {
			t.Errorf("%s %s is removed by %q, not %q", tt.link.Type(), tt.link.Name, got, tt.want)
		}
	}
}
