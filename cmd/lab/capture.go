package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"labnet/lab"
	"labnet/lab/packet"
	"labnet/lab/plan"
	"labnet/testbed/wire"
)

// captured is what one capture is asked for.
type captured struct {
	lab     string
	path    string
	count   int
	length  time.Duration
	snaplen int
	most    string
	program string
}

const (
	largestFrame = 262144 // tcpdump's bound
	smallest     = 14
)

func (c *command) capture() *cobra.Command {
	var ask captured
	install := false
	cmd := &cobra.Command{
		Use:   "capture TARGET[:IF]… [-w FILE] [-- FILTER…]",
		Short: "Show packets at any devices, or write them for Wireshark",
		Long: `Shows the packets that pass the devices of machines, pods and switches, in the order of time, a line for each as tcpdump
writes it, or writes them with -w as pcapng, where each device is an interface of its own: worker1/flannel.1. TARGET is a
machine, a pod or a switch, with :IF only that device of it; without it all but lo. "all" is the underlay: what every
machine sends by its interfaces, so that each frame is there once.

FILTER chooses packets. It consists of host ADDRESS, net NETWORK, port N and portrange N-M, each with src or dst in front if
it must be only that one; arp, ip, ip6, icmp, icmp6, tcp, udp, bgp, vlan [ID] and vni [N]; and, or, not and brackets. It looks at the
frame as it is on the device, and behind inner at what a tunnel in it carries. An address may also be a machine's name or a pod's.

It ends with Ctrl-C, after --count packets or --for a time, and says how many packets it has missed, if any.`,
		Example: `  lab capture worker1                    # all devices of a node: the packet's walk through it
  lab capture worker1:flannel.1 worker1:eth0 -- icmp or inner icmp
  lab capture all -w walk.pcapng -- host worker1 and not tcp port 179
  lab capture all --for 10s -- inner host worker1/p1
  ssh box sudo lab capture worker1 -w - | wireshark -k -i -
  lab capture --extcap-install           # from then on Wireshark lists the machines of running labs`,
		Args: func(cmd *cobra.Command, args []string) error {
			if targets, _ := captureWords(cmd, args); len(targets) == 0 && !install {
				return refuse("say where: lab capture worker1, lab capture worker1:eth0, or lab capture all")
			}
			return nil
		},
		ValidArgsFunction: c.completeCapture(&ask.lab),
		RunE: func(cmd *cobra.Command, args []string) error {
			if install {
				return c.installExtcap()
			}
			targets, filter := captureWords(cmd, args)
			return c.runCapture(cmd, targets, filter, cmd.ArgsLenAtDash() >= 0, ask)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&install, "extcap-install", false, "put the machines of running labs into the list of interfaces of your Wireshark")
	flags.StringVarP(&ask.path, "write", "w", "", "write pcapng to this `file`, - is standard output")
	flags.IntVar(&ask.count, "count", 0, "end after so many packets")
	flags.DurationVar(&ask.length, "for", 0, "end after this time")
	flags.IntVar(&ask.snaplen, "snaplen", largestFrame, "keep so many bytes of each packet")
	flags.StringVar(&ask.most, "max-size", "", "when the file has this `size`, as 100M, begin it anew, and keep the one before as FILE.1")
	flags.StringVar(&ask.program, "bpf", "", "choose packets by the program in this `file`, as tcpdump -ddd prints it")
	flags.StringVarP(&ask.lab, "lab", "l", "", "the `lab`, where several are running")
	completeFlag(cmd, "lab", runningLabs)
	return cmd
}

// captureWords are the targets, and the filter that stands behind "--".
func captureWords(cmd *cobra.Command, args []string) (targets []string, filter string) {
	if at := cmd.ArgsLenAtDash(); at >= 0 {
		return args[:at], strings.Join(args[at:], " ")
	}
	return args, ""
}

func (c *command) runCapture(cmd *cobra.Command, targets []string, filter string, filtered bool, ask captured) error {
	most, err := ask.sound(c.json())
	if err != nil {
		return err
	}
	program, err := readProgram(ask.program)
	if err != nil {
		return err
	}
	if err := demandRoot("capture"); err != nil {
		return err
	}
	name, err := c.instance(cmd, ask.lab, choice{})
	if err != nil {
		return err
	}
	known, err := c.knownOf(name)
	if err != nil {
		return err
	}
	choose, err := filterOf(filter, filtered, known.names)
	if err != nil {
		return err
	}
	spots, err := c.spots(cmd, name, known.plan, targets)
	if err != nil {
		return err
	}
	defer closeSpots(spots)
	var sources []wire.Source
	for _, s := range spots {
		sources = append(sources, s.source())
	}
	group, err := wire.Together(sources, wire.Options{SnapLen: ask.snaplen, Program: program})
	if errors.Is(err, wire.ErrProgram) {
		return refuse("--bpf %s: %w", ask.program, wire.ErrProgram)
	}
	if err != nil {
		return err
	}
	defer group.Close()
	out, err := c.sink(ask, most, filter, name, known, spots)
	if err != nil {
		return err
	}
	defer c.working()() // a file must be ended
	ctx := cmd.Context()
	if ask.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ask.length)
		defer cancel()
	}
	c.say("Capturing at %s. Ctrl-C ends it.", placesOf(spots))
	seen := 0
	err = group.Each(ctx, func(source int, r wire.Raw) error {
		at, ok := spots[source].device(r)
		if !ok {
			return nil
		}
		p := packet.Packet{}
		if out.decodes() || choose != nil {
			if p = packet.Decode(r.Data, packet.Options{Bare: r.Bare, Length: r.Length, Ports: known.ports}); choose != nil && !choose(&p) {
				return nil
			}
		}
		if err := out.packet(at, r, p); err != nil {
			return err
		}
		if seen++; seen == ask.count {
			return errEnough
		}
		return nil
	}, out.flush)
	if errors.Is(err, errEnough) || errors.Is(err, unix.EPIPE) && ask.path != "-" && ask.path != "" { // a fifo that nobody reads any more
		err = nil
	}
	lost, failed := group.Lost()
	err = errors.Join(err, failed, out.end(uint64(seen), lost))
	text := count(seen, "packet")
	if lost > 0 {
		text += fmt.Sprintf(", and %d lost: they came faster than they could be taken; a narrower target or a smaller --snaplen helps", lost)
	}
	c.say("%s.", text)
	return err
}

var errEnough = errors.New("enough packets")

// sound refuses what cannot be meant. It returns the size that a file may have.
func (ask captured) sound(json bool) (most int64, err error) {
	switch {
	case ask.count < 0:
		return 0, refuse("--count %d: it must be at least 1", ask.count)
	case ask.length < 0:
		return 0, refuse("--for %s: it must be longer than nothing", ask.length)
	case ask.snaplen < smallest || ask.snaplen > largestFrame:
		return 0, refuse("--snaplen %d: it must be from %d to %d bytes", ask.snaplen, smallest, largestFrame)
	case json && ask.path != "":
		return 0, refuse("-o json and -w: packets are written either as JSON, a document in each line, or as pcapng")
	case ask.most == "":
		return 0, nil
	case ask.path == "" || ask.path == "-":
		return 0, refuse("--max-size %s: it is for a file, with -w FILE", ask.most)
	}
	number := strings.TrimRight(ask.most, "kMG")
	unit, ok := map[string]int64{"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[strings.TrimPrefix(ask.most, number)]
	n, e := strconv.ParseInt(number, 10, 32)
	const least = 100_000
	if most = n * unit; !ok || e != nil || most < least {
		return 0, refuse("--max-size %s: it is a number with k, M or G, of at least 100k", ask.most)
	}
	return most, nil
}

// filterOf is the filter, or nil where all packets are wanted.
func filterOf(text string, filtered bool, names map[string][]netip.Addr) (packet.Filter, error) {
	if text == "" && !filtered {
		return nil, nil
	}
	f, err := packet.ParseFilter(text, names)
	var wrong *packet.FilterError
	switch {
	case errors.As(err, &wrong) && wrong.Unknown:
		return nil, refuse("%w.%s tcpdump's own filters are taken by --bpf", err, lab.Suggest(wrong.Word, packet.FilterWords, "There are"))
	case err != nil:
		return nil, refuse("%w", err)
	}
	return f, nil
}

// readProgram reads what tcpdump -ddd prints: how many instructions there are, and each in a line of four numbers.
func readProgram(path string) ([]unix.SockFilter, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, refuse("--bpf: %w", err)
	}
	wrong := func(line int) error {
		return refuse("--bpf %s: line %d is not as tcpdump -ddd prints it: how many instructions there are, then each in a line of four numbers", path, line)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	n, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || n < 1 || n > 4096 || n != len(lines)-1 {
		return nil, wrong(1)
	}
	var program []unix.SockFilter
	for i, line := range lines[1:] {
		words := strings.Fields(line)
		if len(words) != 4 {
			return nil, wrong(i + 2)
		}
		var v [4]uint64
		for j, bits := range []int{16, 8, 8, 32} {
			if v[j], err = strconv.ParseUint(words[j], 10, bits); err != nil {
				return nil, wrong(i + 2)
			}
		}
		program = append(program, unix.SockFilter{Code: uint16(v[0]), Jt: uint8(v[1]), Jf: uint8(v[2]), K: uint32(v[3])})
	}
	return program, nil
}

// knowledge is what a lab's definition says about its packets.
type knowledge struct {
	plan  *plan.Plan              // nil where there is no record of it
	names map[string][]netip.Addr // as they may stand in a filter
	title map[netip.Addr]string   // as Wireshark shows them
	ports []int                   // of tunnels
}

// namesOf are the names of addresses.
func namesOf(c *plan.Cluster) map[netip.Addr]string {
	all := map[netip.Addr]string{}
	for _, e := range c.Everyone() {
		if all[e.Address] == "" {
			all[e.Address] = e.Title
		}
	}
	return all
}

// knownOf reads the record of a lab. Without one its packets are captured all the same.
func (c *command) knownOf(name string) (*knowledge, error) {
	k := &knowledge{names: map[string][]netip.Addr{}, title: map[netip.Addr]string{}, ports: append([]int{}, packet.Ports...)}
	p, err := c.running(name, plan.AllFeatures())
	if errors.Is(err, os.ErrNotExist) {
		c.say("The lab's names are not known: %s.", unrecorded(err))
		return k, nil
	}
	if err != nil {
		return nil, err
	}
	k.plan = p
	k.title = namesOf(p.Cluster)
	for _, e := range p.Cluster.Everyone() {
		machine, _, _ := strings.Cut(e.Title, ":")
		k.names[machine] = append(k.names[machine], e.Address)
	}
	p.State.Each(func(o plan.Object) {
		if l, ok := o.(plan.Link); ok {
			if v, ok := l.Device.(plan.VXLAN); ok {
				k.ports = append(k.ports, v.Port)
			}
		}
	})
	return k, nil
}
