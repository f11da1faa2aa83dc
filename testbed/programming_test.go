package testbed_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/kubeproxy"
	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/netfilter"
)

// translating is a node that has so many services of two endpoints each, and of the last one only the first where it is less.
func translating(lab, proxy string, services int, less bool) *plan.State {
	s := &plan.State{}
	ns := lab + ".node"
	s.Add(plan.Namespace{Name: ns, Alias: plan.Owner{Lab: lab, Machine: "node", Role: "node"}.String()})
	var ports []kubeproxy.Port
	for i := range services {
		p := kubeproxy.Port{
			Service: fmt.Sprintf("default/s%d", i+1), Name: "http", Protocol: "tcp", Port: 80, Address: netip.AddrFrom4([4]byte{10, 43, byte((i + 1) >> 8), byte(i + 1)}),
			Endpoints: []netip.AddrPort{netip.MustParseAddrPort("10.42.1.2:8080"), netip.MustParseAddrPort("10.42.1.3:8080")},
		}
		if less && i == services-1 {
			p.Endpoints = p.Endpoints[:1]
		}
		ports = append(ports, p)
	}
	node := kubeproxy.Node{
		Family: nft.IPv4, Address: netip.MustParseAddr("192.0.2.1"), Pods: netip.MustParsePrefix("10.42.0.0/16"), Services: netip.MustParsePrefix("10.43.0.0/16"),
		Local: func(netip.Addr) bool { return false },
	}
	rules := kubeproxy.NFTables
	if proxy == "iptables" {
		rules = kubeproxy.IPTables
	}
	s.AddRuleset(ns, rules(node, ports))
	s.Resolve()
	return s
}

// BenchmarkServices programmes 10,000 services, in the time of a bare loop that sends the same messages (the ratio of the shortest of
// both), then reads them and finds one endpoint less:
//
//	go test ./testbed -run NONE -bench Services -benchtime 5x
func BenchmarkServices(b *testing.B) {
	const lab, services = prefix + "programming", 10000
	for _, proxy := range []string{"nftables", "iptables"} {
		b.Run(proxy, func(b *testing.B) {
			b.Cleanup(func() { down(b, lab) })
			ns := lab + ".node"
			whole, less := translating(lab, proxy, services, false), translating(lab, proxy, services, true)
			place := &plan.State{}
			place.Add(whole.Get(plan.Key{Namespace: ns, Kind: plan.KindNamespace}))
			place.Resolve()
			become := func(to *plan.State) (read, changed time.Duration) {
				start := time.Now()
				is, err := testbed.ReadSome(b.Context(), lab, []string{ns}, to)
				if err != nil {
					b.Fatal(err)
				}
				changes := plan.Diff(is, to)
				read, start = time.Since(start), time.Now()
				if err := testbed.Apply(b.Context(), changes, func(plan.Change) {}); err != nil {
					b.Fatal(err)
				}
				return read, time.Since(start)
			}
			var up, bare, found, changed []time.Duration
			for b.Loop() {
				become(place)
				_, all := become(whole)
				read, one := become(less)
				become(place)
				up, found, changed = append(up, all), append(found, read), append(changed, one)
				bare = append(bare, loop(b, ns, plan.Diff(place, whole)))
			}
			b.ReportMetric(0, "ns/op") // of all of it together says nothing
			b.ReportMetric(slices.Min(up).Seconds(), "up-s")
			b.ReportMetric(slices.Min(bare).Seconds(), "bare-s")
			b.ReportMetric(slices.Min(up).Seconds()/slices.Min(bare).Seconds(), "up/bare")
			b.ReportMetric(slices.Min(found).Seconds(), "read-s")
			b.ReportMetric(slices.Min(changed).Seconds()*1e3, "endpoint-ms")
		})
	}
}

// loop sends the messages of new tables by a bare socket, in as many transactions as there must be, each when the one before it is
// made. They are encoded beforehand.
func loop(b *testing.B, namespace string, changes []plan.Change) (took time.Duration) {
	place, err := testbed.Open(namespace)
	if err != nil {
		b.Fatal(err)
	}
	defer place.Close()
	const most = 512 << 10
	append4 := func(data []byte, kind, flags uint16, family byte, resource uint16, body []byte) []byte {
		data = binary.NativeEndian.AppendUint32(data, uint32(20+len(body)))
		data = binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(data, kind), flags|unix.NLM_F_REQUEST)
		data = append(data, 0, 0, 0, 0, 0, 0, 0, 0, family, 0)
		return append(binary.BigEndian.AppendUint16(data, resource), body...)
	}
	begin := append4(nil, unix.NFNL_MSG_BATCH_BEGIN, 0, 0, unix.NFNL_SUBSYS_NFTABLES, nil)
	end := append4(nil, unix.NFNL_MSG_BATCH_END, unix.NLM_F_ACK, 0, unix.NFNL_SUBSYS_NFTABLES, nil)
	var batches [][]byte
	batch := slices.Clone(begin)
	for _, c := range changes {
		for _, s := range netfilter.Steps(c.Ruleset()) {
			if len(batch) > most {
				batches, batch = append(batches, append(batch, end...)), slices.Clone(begin)
			}
			for _, m := range s.Messages {
				batch = append4(batch, unix.NFNL_SUBSYS_NFTABLES<<8|uint16(m.Kind), m.Flags, byte(m.Family), 0, m.Data)
			}
		}
	}
	batches = append(batches, append(batch, end...))
	err = place.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*most); err != nil {
			return err
		}
		answer := make([]byte, 64<<10)
		start := time.Now()
		for i, data := range batches {
			if err := unix.Sendto(fd, data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
				return err
			}
			n, _, err := unix.Recvfrom(fd, answer, 0)
			if err != nil {
				return err
			}
			if code := int32(binary.NativeEndian.Uint32(answer[16:])); n < 20 || code != 0 {
				return fmt.Errorf("transaction %d of %d: %w", i+1, len(batches), unix.Errno(-code))
			}
		}
		took = time.Since(start)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return took
}
