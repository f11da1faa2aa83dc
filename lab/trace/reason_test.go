package trace

import (
	"regexp"
	"strings"
	"testing"
)

// TestReasons: each reason that the table has is found under its name, and says in words what happened and where to look, with
// nothing left to fill in, whatever is known of the packet.
func TestReasons(t *testing.T) {
	ip6 := overlay(8).Hops
	for i := range ip6 {
		headers := stack("ethernet", "ipv6", "udp")
		headers[1].Source, headers[1].Destination = "fd00::1", "fd00::2"
		ip6[i].Headers = headers
	}
	blank := regexp.MustCompile(`[{}]|\s\s|\s$|^$`)
	for i, r := range reasons {
		key := [2]string{r.name, r.where}
		for _, before := range reasons[:i] {
			if before.name == r.name && strings.HasPrefix(r.where, before.where) {
				t.Errorf("%v is never reached: %q comes first", key, before.where)
			}
		}
		if Meaning[r.ends] == "" || r.ends == Arrived {
			t.Errorf("%v ends in %q", key, r.ends)
		}
		for name, hops := range map[string][]Hop{"nothing": nil, "IPv4": overlay(8).Hops, "IPv6": ip6} {
			for _, device := range []string{"", "eth0"} {
				if device == "" && strings.Contains(r.sentence+strings.ReplaceAll(r.command, " iif {device}", ""), "device}") {
					continue // the kernel tells it only of a device
				}
				d := &Drop{Machine: "b", Device: device, Reason: r.name, Location: r.where}
				ends := d.explain("lab.b", hops)
				if ends != r.ends || blank.MatchString(d.Sentence) || blank.MatchString(d.Command) {
					t.Errorf("%v with %s at %q: %s, %q, %q", key, name, device, ends, d.Sentence, d.Command)
				}
			}
		}
	}
}

// TestReasonWords: a reason is told with the addresses and the commands of the packet's own family, by whoever sent it there,
// and one that the table does not have as the kernel has it.
func TestReasonWords(t *testing.T) {
	inner, ip6 := stack("ethernet", "ipv4", "udp"), stack("ethernet", "ipv6", "udp")
	inner[1].Source, inner[1].Destination, inner[2].Destination = "10.42.0.2", "10.42.1.2", "8472"
	ip6[1].Source, ip6[1].Destination = "fd00::1", "fd00::2"
	for _, tt := range []struct {
		drop              Drop
		hops              []Hop
		ends              Disposition
		sentence, command string
	}{
		{Drop{Machine: "b", Device: "eth0", Reason: "IP_INNOROUTES"}, []Hop{Hop{Headers: inner}}, NoRoute, "b has no route to 10.42.1.2", "ip -n lab.b route get 10.42.1.2 from 10.42.0.2 iif eth0"},
		{Drop{Machine: "b", Reason: "IP_INNOROUTES"}, []Hop{Hop{Headers: ip6}}, NoRoute, "b has no route to fd00::2", "ip -6 -n lab.b route get fd00::2 from fd00::1"},
		{Drop{Machine: "b", Device: "eth0", Reason: "IP_INADDRERRORS"}, []Hop{Hop{Headers: ip6}}, Lost, "b does not forward: fd00::2 is none of its own addresses, and forwarding is off", "ip netns exec lab.b sysctl net.ipv6.conf.all.forwarding"},
		{Drop{Machine: "b", Device: "eth0", Reason: "NO_SOCKET"}, []Hop{Hop{Headers: inner}}, Lost, "nobody on b listens on udp 8472, which it was sent to", "ip netns exec lab.b ss -lntu"},
		{
			Drop{Machine: "b", Device: "eth0", Reason: "OTHERHOST"},
			[]Hop{Hop{Machine: "a", Namespace: "lab.a", Device: "eth1", Direction: Out, Headers: inner}, Hop{Machine: "b", Namespace: "lab.b", Device: "eth0", Direction: In, Headers: inner}}, Lost,
			"it came to b, but the frame is for the MAC address ethernet, which eth0 does not have: a has a wrong neighbour entry, or what lies between does not know where that address is", "ip -n lab.a neigh show dev eth1",
		},
		{Drop{Machine: "b", Device: "eth0", Reason: "IP_INHDR", Location: "ip_forward"}, []Hop{Hop{Headers: inner}}, Loop, "its TTL is used up: it has been through too many routers, or in a circle", "ip -n lab.b route get 10.42.1.2 from 10.42.0.2 iif eth0"},
		{Drop{Machine: "b", Device: "eth0", Reason: "NOT_SPECIFIED", Location: "veth_xmit"}, nil, Lost, "the far end of eth0 is down", "ip -n lab.b link show dev eth0"},
		{Drop{Machine: "b", Device: "eth0", Reason: "NEW_IN_7", Location: "fancy_rcv"}, nil, Lost, "the kernel gives the reason NEW_IN_7, in its function fancy_rcv", "ip -n lab.b -s link show dev eth0"},
		{Drop{Machine: "b", Device: "eth0", Reason: "NEW_IN_7"}, nil, Lost, "the kernel gives the reason NEW_IN_7", "ip -n lab.b -s link show dev eth0"},
	} {
		d := tt.drop
		if ends := d.explain("lab.b", tt.hops); ends != tt.ends || d.Sentence != tt.sentence || d.Command != tt.command {
			t.Errorf("%+v:\n%s: %s\n%s", tt.drop, ends, d.Sentence, d.Command)
		}
	}
}

// TestParts: where a walk leaves its prediction is said, and nothing where it does not.
func TestParts(t *testing.T) {
	ends := func(n int, as Disposition, d *Drop) Walk {
		w := overlay(n)
		w.Disposition, w.Drop = as, d
		return w
	}
	detour := overlay(12)
	detour.Hops[5].Machine, detour.Hops[5].Namespace = "wan", "lab.wan"
	drop := func(machine, device, reason string) *Drop {
		return &Drop{Machine: machine, Device: device, Reason: reason, Sentence: "it is " + reason}
	}
	for name, tt := range map[string]struct {
		seen, predicted Walk
		want            string
	}{
		"arrived":               {overlay(12), overlay(12), ""},
		"by another machine":    {detour, overlay(12), "after a out eth0 it was to be seen next at lan in a, and was seen at wan in a"},
		"further than foreseen": {overlay(12), ends(5, Lost, drop("a", "eth0", "X")), "after a out eth0 it was to be lost: it is X"},
		"lost on the way":       {ends(8, Lost, drop("b", "eth0", "X")), overlay(12), "after b in eth0 it was to go on, and arrive"},
		"lost as foreseen":      {ends(8, Lost, drop("b", "eth0", "X")), ends(8, Lost, drop("b", "eth0", "X")), ""},
		"lost elsewhere":        {ends(8, Lost, drop("b", "eth0", "X")), ends(8, Lost, drop("c", "eth1", "Y")), "it was to be lost at c eth1: it is Y"},
		"a neighbour is silent": {ends(5, NeighbourUnknown, drop("a", "eth0", "NEIGH_FAILED")), ends(5, NeighbourUnknown, drop("b", "eth0", "NEIGH_FAILED")), ""},
		"round and round":       {ends(8, Loop, drop("b", "eth0", "IP_INHDR")), ends(5, Loop, drop("a", "eth0", "")), ""},
		"arrived all the same":  {overlay(8), ends(8, Lost, drop("b", "eth0", "X")), "it was to be lost: it is X"},
	} {
		if got := tt.seen.Parts(tt.predicted); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestBeside: the verdict names the way on which trace and prediction differ, and a loss that was foreseen is told in the words
// of the prediction.
func TestBeside(t *testing.T) {
	if got := answered().Verdict(); got != "As predicted" {
		t.Error(got)
	}
	if got := lost().Verdict(); got != "Not as predicted: after b in eth0 it was to go on, and arrive" {
		t.Error(got)
	}
	short := answered()
	back := *short.Back
	back.Hops = back.Hops[:6]
	back.Disposition, back.Drop = Lost, &Drop{Machine: "lan", Device: "b", Reason: "NO_PORT"}
	short.Back = &back
	if got := short.Verdict(); !strings.HasPrefix(got, "As predicted on the way there, but not on the way back: ") {
		t.Error(got)
	}
	seen := lost()
	foreseen := overlay(8)
	foreseen.Disposition, foreseen.Drop = NoTunnel, &Drop{Machine: "b", Device: "eth0", Reason: "VXLAN_VNI_NOT_FOUND", Sentence: "no tunnel of b has VNI 7", Command: "ip -n lab.b link"}
	seen.Beside(Prediction{There: foreseen})
	if d := seen.There.Drop; d.Sentence != foreseen.Drop.Sentence || d.Command != foreseen.Drop.Command || seen.There.Disposition != NoTunnel || seen.Verdict() != "As predicted" {
		t.Errorf("%+v, %s, %s", d, seen.There.Disposition, seen.Verdict())
	}
}
