package main

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/packet"
	"labnet/lab/plan"
	"labnet/lab/trace"
	kernel "labnet/testbed/trace"
)

func (c *command) trace() *cobra.Command {
	opt := kernel.Options{}
	labName, page, pcap, back := "", "", "", false
	cmd := &cobra.Command{
		Use:   "trace FROM TO",
		Short: "Follow one packet through a lab, device by device",
		Long: `Sends one marked packet from a pod or a machine to another, to an address or to a service, and shows every device that it
passes: what the packet looks like where that changes, and how long it took. Where it is lost it says at which device and why,
in the kernel's word and in plain English, with the command that shows more. The answer is followed likewise.

Without --port lab itself answers a probe of UDP or TCP; with it, the program that listens there. --size is that of the
whole IP packet. Exit status 3 when the packet did not arrive or no answer came back.`,
		Example: `  lab trace master/p1 worker1/p1
  lab trace worker1/p1 worker2 --proto tcp --port 22
  lab trace master/p1 web                             # to a service: what translates it, and for whom
  lab trace master/p1 worker1/p1 --size 1500 --df     # does a packet of this size pass whole?
  lab trace master/p1 10.42.1.9 --html walk.html           # a picture, for a browser or for paper
  lab trace master/p1 10.42.1.9 --pcap walk.pcapng         # its frames, for Wireshark
  lab trace master/p1 10.42.1.9 -o json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return refuse("say from where to where: lab trace master/p1 worker1/p1")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			words, rule := completeTarget(&labName)(cmd, nil, typed)
			if len(args) == 1 {
				words = append(words, recordedServices(labName)...)
			}
			return slices.DeleteFunc(words, func(w string) bool { return slices.Contains(args, w) }), rule
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			t, p, err := c.follow(cmd, labName, opt, args[0], args[1])
			if err != nil {
				return err
			}
			about := packet.About{Program: "lab " + version(), Comment: "lab " + strings.Join(c.args, " "), Names: namesOf(p.Cluster)}
			for _, out := range []struct {
				path string
				to   func(io.Writer) error
			}{{page, func(w io.Writer) error {
				lab, err := c.pictureOf(cmd.Context(), p.Cluster.Name)
				if err != nil {
					return err
				}
				return t.Page(w, lab.SVG())
			}}, {pcap, func(w io.Writer) error { return t.File(w, about) }}} {
				if err := written(out.path, out.to); err != nil {
					return err
				}
			}
			if c.json() {
				err = c.document(t.Document())
			} else {
				err = c.walked(t, back)
			}
			if !t.OK() || back {
				c.sayWhereToType()
			}
			if err == nil && !t.OK() {
				return status{code: answer}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opt.Protocol, "proto", "icmp", "the `protocol` of the packet: icmp, udp or tcp")
	flags.IntVar(&opt.Port, "port", 0, "send to this port, whoever listens there")
	flags.IntVar(&opt.Size, "size", 60, "the size of the IP packet, in bytes")
	flags.BoolVar(&opt.DF, "df", false, "forbid that it is cut: it passes whole or not at all")
	flags.DurationVar(&opt.Wait, "wait", 4*time.Second, "wait so long for what is not seen; a neighbour that does not answer takes 3s")
	flags.StringVar(&opt.Backend, "backend", kernel.Auto, "see packets by the kernel's `tracepoint`s or by packet sockets: auto, tracepoint or packet")
	flags.StringVar(&page, "html", "", "write a page with a picture of the walk to `FILE`")
	flags.StringVar(&pcap, "pcap", "", "write the frames that were seen, with what was decided as comments, to `FILE` for Wireshark (pcapng)")
	_ = cmd.MarkFlagFilename("html", "html")
	_ = cmd.MarkFlagFilename("pcap", "pcapng")
	flags.BoolVarP(&back, "verbose", "v", false, "show the way back device by device, also where it is the same, and the command that shows each decision")
	flags.StringVarP(&labName, "lab", "l", "", "the `lab`, where several are running")
	completeFlag(cmd, "lab", runningLabs)
	for flag, words := range map[string][]string{"proto": kernel.Protocols, "backend": kernel.Backends} {
		completeFlag(cmd, flag, func(*cobra.Command) []string { return words })
	}
	return cmd
}

// written writes a file, if one is asked for. What was there stays until all of the new text is known.
func written(path string, to func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	var text bytes.Buffer
	if err := to(&text); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// follow checks what is asked for, and traces.
func (c *command) follow(cmd *cobra.Command, labName string, opt kernel.Options, from, to string) (*trace.Trace, *plan.Plan, error) {
	if !strings.Contains(to, ":") || opt.Port != 0 { // a service has ports of its own
		if err := sound(opt); err != nil {
			return nil, nil, err
		}
	}
	f, err := features("trace", false)
	if err != nil {
		return nil, nil, err
	}
	name, err := c.instance(cmd, labName, choice{})
	if err != nil {
		return nil, nil, err
	}
	p, err := c.running(name, f)
	if err != nil {
		return nil, nil, err
	}
	to, addresses, err := toService(p.Cluster.Lab, to, &opt, cmd.Flags().Changed)
	if err != nil {
		return nil, nil, err
	}
	if opt.From, opt.To, err = ends(p.Cluster, from, to, addresses); err != nil {
		return nil, nil, err
	}
	if least := kernel.Smallest(opt.Protocol, opt.To.Address.Is6()); opt.Size < least {
		if cmd.Flags().Changed("size") {
			return nil, nil, refuse("--size %d: the smallest packet of this kind has %d bytes", opt.Size, least)
		}
		opt.Size = least
	}
	t, err := kernel.Run(cmd.Context(), p, opt)
	return t, p, unprivileged(err)
}

// sound refuses what cannot be meant.
func sound(opt kernel.Options) error {
	switch {
	case !slices.Contains(kernel.Protocols, opt.Protocol):
		return refuse("--proto %s: it is %s", opt.Protocol, strings.Join(kernel.Protocols, ", "))
	case !slices.Contains(kernel.Backends, opt.Backend):
		return refuse("--backend %s: it is %s", opt.Backend, strings.Join(kernel.Backends, ", "))
	case opt.Port != 0 && opt.Protocol == "icmp":
		return refuse("--port %d: a packet of icmp has no port; say also --proto udp or tcp", opt.Port)
	case opt.Port < 0 || opt.Port > 65535:
		return refuse("--port %d: a port is a number from 1 to 65535", opt.Port)
	case opt.Size > kernel.Largest:
		return refuse("--size %d: the largest packet that can be followed has %d bytes", opt.Size, kernel.Largest)
	case opt.Wait <= 0:
		return refuse("--wait %s: it must be longer than nothing", opt.Wait)
	}
	return nil
}

// toService finds the service that a packet goes to, as web or, where it has several ports, web:http. The protocol and the port
// are the service's then, unless they are given.
func toService(l *lab.Lab, to string, opt *kernel.Options, given func(flag string) bool) (title string, addresses []netip.Addr, err error) {
	if l.Services == nil {
		return to, nil, nil
	}
	name, port, named := strings.Cut(to, ":")
	for _, s := range l.Services.All {
		if s.Name != name {
			continue
		}
		if s.Type == lab.Headless {
			return "", nil, refuse("service %s is headless: it has no address that a packet could go to. Trace to one of its endpoints", name)
		}
		var ports []string
		chosen := s.Ports[0]
		for _, p := range s.Ports {
			if ports = append(ports, p.Name); p.Name == port {
				chosen, named = p, false
			}
		}
		if named {
			return "", nil, refuse("service %s has no port %q.%s", name, port, lab.Suggest(port, ports, "It has"))
		}
		if !given("proto") {
			opt.Protocol = chosen.Protocol
		}
		if !given("port") {
			opt.Port = chosen.Port
		}
		return name, s.Addresses(), nil
	}
	return to, nil, nil
}

// ends finds where a packet comes from and where it goes to, in a family that both have. What it goes to may have addresses that
// no machine has.
func ends(cluster *plan.Cluster, from, to string, at []netip.Addr) (kernel.Target, kernel.Target, error) {
	var none kernel.Target
	sources, err := endpoints(cluster, from)
	if err != nil {
		return none, none, err
	}
	if len(sources) == 0 {
		return none, none, refuse("%s is no address of lab %s: a packet can only be sent from there", from, cluster.Name)
	}
	var targets []plan.Endpoint
	for _, a := range at {
		targets = append(targets, plan.Endpoint{Title: to, Address: a})
	}
	if at == nil {
		if targets, err = endpoints(cluster, to); err != nil {
			return none, none, err
		}
	}
	if address, err := netip.ParseAddr(to); err == nil && len(targets) == 0 {
		targets = []plan.Endpoint{{Title: to, Address: address}}
	}
	for _, t := range targets {
		for _, s := range sources {
			if s.Namespace == t.Namespace {
				return none, none, refuse("%s and %s are one: a packet between them does not leave it", from, to)
			}
			if s.Address.Is6() != t.Address.Is6() {
				continue
			}
			source := kernel.Target{Title: s.Title, Namespace: s.Namespace}
			if _, err := netip.ParseAddr(from); err == nil {
				source.Address = s.Address
			}
			return source, kernel.Target{Title: t.Title, Namespace: t.Namespace, Address: t.Address}, nil
		}
	}
	return none, none, refuse("%s and %s have no address of the same family: %s, %s", from, to, addresses(sources), addresses(targets))
}

// endpoints are what a name or an address means, with each address of it.
func endpoints(cluster *plan.Cluster, name string) ([]plan.Endpoint, error) {
	address, notAddress := netip.ParseAddr(name)
	var found []plan.Endpoint
	var known []string
	for _, e := range cluster.Everyone() {
		known = append(known, e.Title)
		if e.Title == name || notAddress == nil && e.Address == address {
			found = append(found, e)
		}
	}
	if len(found) == 0 && notAddress != nil {
		for _, sw := range cluster.Lab.Switches {
			if sw.Name == name {
				return nil, refuse("%s is a switch: packets pass it, and none come from there or go there", name)
			}
		}
		slices.Sort(known)
		return nil, refuse("lab %s has no %s.%s", cluster.Name, name, lab.Suggest(name, slices.Compact(known), "It has"))
	}
	return found, nil
}

func addresses(list []plan.Endpoint) string {
	var words []string
	for _, e := range list {
		words = append(words, e.Address.String())
	}
	return strings.Join(words, ", ")
}

// walked prints a trace for people.
func (c *command) walked(t *trace.Trace, back bool) error {
	room := width(c.out)
	var b strings.Builder
	mark := "✓"
	if !t.OK() {
		mark = "✗"
	}
	to := t.To
	if t.To != t.Address {
		to += " (" + t.Address + ")"
	}
	fmt.Fprintf(&b, "%s %s\n", mark, hang(t.From+" → "+to+": "+strings.Join(append(t.Sentences(), t.Verdict()), ". "), room, 2))
	b.WriteString("\n" + columns(steps(t.There, back), room))
	if t.Back != nil && (back || !t.Mirrored() || !t.Answered) {
		b.WriteString("\nBack:\n" + columns(steps(*t.Back, back), room))
	}
	_, err := fmt.Fprint(c.out, b.String())
	return err
}

// steps are the rows of a walk: what changes and what is decided at each device, with the commands that show it if they are
// asked for, and where it ends.
func steps(w trace.Walk, commands bool) []row {
	rows := []row{}
	for i, h := range w.Hops {
		if w.Disposition == trace.Loop && slices.ContainsFunc(w.Hops[:i], h.Same) {
			rows = append(rows, row{cells: []string{"", "", "", "", fmt.Sprintf("… and round again: %d more hops", len(w.Hops)-i)}})
			break
		}
		text := trace.Describe(h.Headers)
		if i > 0 {
			text = trace.Change(w.Hops[i-1].Headers, h.Headers)
		}
		rows = append(rows, row{cells: []string{fmt.Sprintf("%2d", i+1), fmt.Sprintf("%6s", trace.Span(h.Time)), h.Machine, string(h.Direction) + " " + h.Device, text}})
		if h.Decision != nil && h.Decision.Text != "" {
			rows = append(rows, row{cells: []string{"", "", "", "", h.Decision.Text}})
			if commands && h.Command != "" {
				rows = append(rows, row{cells: []string{"", "", "", "", "`" + h.Command + "`"}})
			}
		}
	}
	if w.Drop != nil {
		at := w.Drop.Device
		rows = append(rows, row{cells: []string{" ✗", "", w.Drop.Machine, at, w.Drop.Reason}}, row{cells: []string{"", "", "", "", "`" + w.Drop.Command + "`"}})
	}
	return rows
}
