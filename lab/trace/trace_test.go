package trace

import "testing"

// TestMirrored: an answer came back the same way where it passed the same devices, the other way round. A VLAN's device need not
// see both.
func TestMirrored(t *testing.T) {
	by := func(devices ...At) Walk {
		var w Walk
		for _, d := range devices {
			w.Hops = append(w.Hops, Hop{Namespace: d.Namespace, Device: d.Device})
		}
		return w
	}
	pod, veth, eth0, vlan, tunnel, far := At{"p", "eth0"}, At{"a", "veth"}, At{"a", "eth0"}, At{"a", "eth0.20"}, At{"a", "flannel.1"}, At{"b", "eth0"}
	for _, tt := range []struct {
		there, back Walk
		want        bool
	}{
		{by(pod, veth, eth0, far), by(far, eth0, veth, pod), true},
		{by(pod, veth, eth0, far), by(far, eth0, vlan, veth, pod), true},
		{by(pod, veth, vlan, eth0, far), by(far, eth0, vlan, veth, pod), true},
		{by(pod, veth, tunnel, eth0, far), by(far, eth0, veth, pod), false},
		{by(pod, veth, vlan, far), by(far, eth0, veth, pod), false},
		{by(pod, veth, eth0, far), by(far, eth0, pod), false},
	} {
		if got := (&Trace{There: tt.there, Back: &tt.back}).Mirrored(); got != tt.want {
			t.Errorf("%v and back %v: %v", tt.there.devices(), tt.back.devices(), got)
		}
	}
}
