package netfilter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"labnet/lab/nft"
)

// Step is a part of a change that is made wholly or not at all.
type Step struct {
	What     string // names it where it fails: rule of ip filter forward
	Messages []nft.Message
	Gone     bool // it removes something, and all is well where that is gone
}

// A transaction has at most as many bytes as a socket takes by default, and after the first four times as many where it may
// take more: each has its price. Several follow one another where that is not enough.
const (
	batch = 128 << 10
	large = 512 << 10
)

// Do makes the steps in their order, in as few transactions as there must be, and calls done for each when its transaction
// is made. It stops at the first that fails, and between two when ctx is done; what is made stays.
func (c *Conn) Do(ctx context.Context, steps []Step, done func(i int)) error {
	most := batch
	for from := 0; from < len(steps); {
		if err := ctx.Err(); err != nil {
			return err
		}
		if from > 0 && most == batch && c.make(large) == nil {
			most = large
		}
		to, size := from, 0
		for to < len(steps) {
			n := 0
			for _, m := range steps[to].Messages {
				n += unix.NLMSG_HDRLEN + nfgen + len(m.Data)
			}
			if to > from && size+n > most {
				break
			}
			size += n
			to++
		}
		if err := c.transaction(steps[from:to]); err != nil {
			var failed *StepError
			if errors.As(err, &failed) {
				failed.Step += from
			}
			return err
		}
		for i := from; i < to; i++ {
			done(i)
		}
		from = to
	}
	return nil
}

// StepError is the step at which a transaction failed.
type StepError struct {
	What string
	Err  error
	Step int // its number
}

func (e *StepError) Error() string {
	if e.What == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s: %v", e.What, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }

// transaction makes steps at once. It is tried again without those whose object is gone already.
func (c *Conn) transaction(steps []Step) error {
	steps = append([]Step{}, steps...)
	for {
		err := c.send(steps)
		var failed *StepError
		if errors.As(err, &failed) && steps[failed.Step].Gone && errors.Is(err, unix.ENOENT) {
			steps[failed.Step].Messages = nil
			continue
		}
		return err
	}
}

func (c *Conn) send(steps []Step) error {
	first := c.next()
	b := appendMessage(nil, batchBegin, unix.NLM_F_REQUEST, first, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	owner := map[uint32]int{} // of a message: its step
	left := 0
	for _, s := range steps {
		left += len(s.Messages)
	}
	if left == 0 {
		return nil
	}
	var last uint32
	for i, s := range steps {
		for _, m := range s.Messages {
			last = c.next()
			owner[last] = i
			flags := uint16(unix.NLM_F_REQUEST) | m.Flags
			if left--; left == 0 {
				flags |= unix.NLM_F_ACK // older kernels acknowledge no end of a batch
			}
			b = appendMessage(b, subsystem|uint16(m.Kind), flags, last, byte(m.Family), 0, m.Data)
		}
	}
	end := c.next()
	b = appendMessage(b, batchEnd, unix.NLM_F_REQUEST, end, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	if err := c.make(len(b)); err != nil {
		return err
	}
	if err := unix.Sendto(c.socket.GetFd(), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sending %d bytes: %w", len(b), err)
	}
	c.Sent += len(b)
	// The kernel has answered when it has taken the message: an error for each that failed, and something for the last.
	var failed error
	for {
		messages, _, err := c.socket.Receive()
		if errors.Is(err, unix.ENOBUFS) && failed != nil {
			return failed // more failed than there is room to say
		}
		if err != nil {
			return err
		}
		for _, a := range messages {
			if a.Header.Type != unix.NLMSG_ERROR || a.Header.Seq < first || a.Header.Seq > end {
				continue
			}
			if err := errorOf(a); err != nil && failed == nil {
				failed = err
				if i, ok := owner[a.Header.Seq]; ok {
					failed = &StepError{steps[i].What, err, i}
				}
			}
			if a.Header.Seq == last || a.Header.Seq == first && failed != nil || a.Header.Seq == end && failed != nil {
				return failed
			}
		}
	}
}

// make room in the socket for a message of that size.
func (c *Conn) make(size int) error {
	const usual = 200 << 10
	if size <= max(usual, c.room) {
		return nil
	}
	fd := c.socket.GetFd()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size+4096); err != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size+4096); err != nil {
			return err
		}
	}
	// What the kernel does not permit it makes smaller without a word.
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return err
	}
	if got < size+4096 {
		return fmt.Errorf("sending %d bytes: %w", size, unix.EMSGSIZE)
	}
	c.room = size
	return nil
}

// Steps are what makes a ruleset where there is none, so ordered that what names something comes after it, and what leads
// packets to a chain after all that is in the chain: where it takes several transactions no packet meets half of it, and the
// kernel, which follows all ways from the hooks at the end of each transaction, has none to follow until the last.
func Steps(r *nft.Ruleset) []Step {
	var steps []Step
	id := uint32(1)
	one := func(what string, m ...nft.Message) { steps = append(steps, Step{What: what, Messages: m}) }
	in := func(f nft.Family, table, name string) string { return f.String() + " " + table + " " + name }
	for _, t := range r.Tables {
		one("table "+in(t.Family, t.Name, ""), t.Add())
	}
	for _, o := range r.Objects {
		one("object "+in(o.Family, o.Table, o.Name), o.Add())
	}
	for _, c := range r.Chains {
		one("chain "+in(c.Family, c.Table, c.Name), c.Add())
	}
	sets := map[string]nft.Set{}
	for _, s := range r.Sets {
		one("set "+in(s.Family, s.Table, s.Name), s.Add(id))
		sets[in(s.Family, s.Table, s.Name)] = s
		id++
	}
	for _, i := range Inward(r.Rules) {
		l := r.Rules[i]
		var m []nft.Message
		m, id = l.Add(nft.Where{Fresh: true}, id)
		one("rule of "+in(l.Family, l.Table, l.Chain), m...)
	}
	for i := 0; i < len(r.Elements); {
		name := in(r.Elements[i].Family, r.Elements[i].Table, r.Elements[i].Set)
		j := i
		for j < len(r.Elements) && in(r.Elements[j].Family, r.Elements[j].Table, r.Elements[j].Set) == name {
			j++
		}
		for _, m := range sets[name].AddElements(r.Elements[i:j]) {
			one("elements of "+name, m)
		}
		i = j
	}
	return steps
}

// Inward is the order in which rules are made so that those of a chain come before what jumps there. Those of one chain stay
// in theirs.
func Inward(rules []nft.Rule) []int {
	type chain struct {
		family      nft.Family
		table, name string
	}
	of := map[chain][]int{}
	for i, l := range rules {
		k := chain{l.Family, l.Table, l.Chain}
		of[k] = append(of[k], i)
	}
	order := make([]int, 0, len(rules))
	var visit func(chain)
	visit = func(c chain) {
		mine := of[c]
		delete(of, c)
		for _, i := range mine {
			for _, ref := range rules[i].Exprs.Refs() {
				if name, ok := strings.CutPrefix(ref, "chain "); ok {
					visit(chain{c.family, c.table, strings.TrimSuffix(name, "\n")})
				}
			}
		}
		order = append(order, mine...)
	}
	for _, l := range rules {
		visit(chain{l.Family, l.Table, l.Chain})
	}
	return order
}
