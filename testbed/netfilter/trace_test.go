package netfilter

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"labnet/lab/nft"
)

// TestTrace follows a packet through chains: each rule that matches says so, by the handle that the ruleset has for it.
func TestTrace(t *testing.T) {
	inside(t, func() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			t.Error(err)
			return
		}
		c := dial(t)
		defer c.Close()
		r := nft.NewRuleset(nft.IPv4, "t")
		r.Base("in", "filter", nft.Input, nft.PriorityFilter)
		r.Chains[0].Policy = nft.Drop
		r.Chains = append(r.Chains, nft.Chain{Family: nft.IPv4, Table: "t", Name: "next"})
		r.Base("first", "filter", nft.Output, nft.PriorityRaw)
		r.Rule("first", nft.Is("udp dport", 9), nft.Traced())
		r.Rule("in", nft.Is("udp dport", 9), nft.SetMark(7), nft.Then(nft.Jump, "next"))
		r.Rule("next", nft.Is("udp dport", 10), nft.Then(nft.Accept))
		r.Rule("next", nft.Then(nft.Return))
		write(t, c, r)
		handles := map[string]uint64{}
		for _, l := range read(t, c).Rules {
			handles[l.Chain] = l.Handle // the last of each
		}
		events, err := Listen()
		if err != nil {
			t.Error(err)
			return
		}
		defer events.Close()
		conn, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		type step struct {
			chain, verdict, policy string
			rule                   uint64
		}
		want := []step{
			{"first", "continue", "", handles["first"]},
			{"first", "", "accept", 0},
			{"in", "jump next", "", handles["in"]},
			{"next", "return", "", handles["next"]},
			{"in", "", "drop", 0},
		}
		var got []step
		ids := map[string]uint32{} // by hook: to the kernel the packet is another one when it comes in by a device
		for until := time.Now().Add(10 * time.Second); len(got) < len(want) && time.Now().Before(until); {
			list, err := events.Next(time.Second)
			if err != nil && !errors.Is(err, ErrMissed) {
				t.Error(err)
				return
			}
			for _, e := range list {
				hook := e.Chain
				if hook == "next" {
					hook = "in"
				}
				if id, ok := ids[hook]; ok && e.ID != id {
					t.Errorf("a second packet: %+v", e)
				}
				ids[hook] = e.ID
				if e.Family != nft.IPv4 || e.Table != "t" {
					t.Errorf("%+v is not of the table", e)
				}
				if e.Chain == "in" && (e.Mark != 7 || e.In != 1) && e.Rule != 0 {
					t.Errorf("the packet came by lo with mark 7: %+v", e)
				}
				got = append(got, step{e.Chain, e.Verdict, e.Policy, e.Rule})
			}
		}
		if len(got) != len(want) {
			t.Errorf("heard %+v, expected %+v", got, want)
			return
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("step %d was %+v, expected %+v", i, got[i], want[i])
			}
		}
		if list, err := events.Next(10 * time.Millisecond); err != nil || len(list) > 0 {
			t.Errorf("nothing more was sent: %v, %v", list, err)
		}
	})
}
