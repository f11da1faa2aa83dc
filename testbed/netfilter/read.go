package netfilter

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"labnet/lab/nft"
)

// Ruleset reads all of it, as it was at one moment. A kernel without nftables has none.
func (c *Conn) Ruleset() (*nft.Ruleset, error) {
	for range 20 {
		r, err := c.once()
		if errors.Is(err, unix.EINVAL) && r == nil {
			return &nft.Ruleset{}, nil // nobody answers for nftables
		}
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOENT) {
			return r, err
		}
	}
	return nil, errors.New("it changes all the time")
}

func (c *Conn) once() (*nft.Ruleset, error) {
	var r nft.Ruleset
	if err := c.dump(nft.Message{Kind: nft.GetTable}, func(f nft.Family, b []byte) error {
		t, err := nft.ParseTable(f, b)
		r.Tables = append(r.Tables, t)
		return err
	}); err != nil {
		return nil, fmt.Errorf("tables: %w", err)
	}
	if len(r.Tables) == 0 {
		return &r, nil // as in most namespaces, which are pods'
	}
	before, err := c.generation()
	if err != nil {
		return nil, fmt.Errorf("generation: %w", err)
	}
	if err := c.contents(&r); err != nil {
		return &r, err
	}
	after, err := c.generation()
	if err == nil && after != before {
		err = unix.EINTR
	}
	return &r, err
}

func (c *Conn) contents(r *nft.Ruleset) error {
	r.Tables = nil
	var rules []nft.Rule
	var sets []nft.Set
	for _, part := range []struct {
		what string
		kind nft.Kind
		add  func(nft.Family, []byte) error
	}{
		{"tables", nft.GetTable, collect(&r.Tables, nft.ParseTable)},
		{"objects", nft.GetObject, collect(&r.Objects, nft.ParseObject)},
		{"flowtables", nft.GetFlowtable, collect(&r.Objects, nft.ParseFlowtable)},
		{"sets", nft.GetSet, collect(&sets, nft.ParseSet)},
		{"chains", nft.GetChain, collect(&r.Chains, nft.ParseChain)},
		{"rules", nft.GetRule, collect(&rules, nft.ParseRule)},
	} {
		if err := c.dump(nft.Message{Kind: part.kind}, part.add); err != nil {
			return fmt.Errorf("%s: %w", part.what, err)
		}
	}
	type name struct {
		family     nft.Family
		table, set string
	}
	anonymous := map[name]nft.Set{}
	inline := map[name][]nft.Element{}
	by := map[name]nft.Rule{} // the rule whose own a set is
	for _, l := range rules {
		for _, ref := range l.Exprs.Refs() {
			if set, ok := strings.CutPrefix(strings.TrimSuffix(ref, "\n"), "set "); ok {
				by[name{l.Family, l.Table, set}] = l
			}
		}
	}
	for _, s := range sets {
		elements, err := c.elements(s, by[name{s.Family, s.Table, s.Name}])
		if err != nil {
			return fmt.Errorf("elements of %s %s %s: %w", s.Family, s.Table, s.Name, err)
		}
		if s.Flags&nft.Anonymous != 0 {
			n := name{s.Family, s.Table, s.Name}
			anonymous[n], inline[n] = s, s.Join(elements)
			continue
		}
		r.Sets = append(r.Sets, s)
		r.Elements = append(r.Elements, s.Join(elements)...)
	}
	for _, l := range rules {
		l, err := l.Adopt(func(set string) (nft.Set, []nft.Element, bool) {
			n := name{l.Family, l.Table, set}
			s, ok := anonymous[n]
			return s, inline[n], ok
		})
		if err != nil {
			return err
		}
		r.Rules = append(r.Rules, l)
	}
	return nil
}

// elements reads those of a set.
func (c *Conn) elements(s nft.Set, by nft.Rule) (elements []nft.Elem, err error) {
	add := func(_ nft.Family, b []byte) error {
		list, err := nft.ParseElements(b)
		elements = append(elements, list...)
		return err
	}
	if m, ok := s.Drawn(by); ok {
		if err := c.ask(m, unix.NLM_F_ACK, add); err == nil && len(elements) == int(s.Size) {
			return elements, nil
		}
		elements = nil
	}
	return elements, c.dump(s.AllElements(), add)
}

func collect[T any](list *[]T, parse func(nft.Family, []byte) (T, error)) func(nft.Family, []byte) error {
	return func(f nft.Family, b []byte) error {
		v, err := parse(f, b)
		*list = append(*list, v)
		return err
	}
}

// Rules reads the rules of one chain, in their order. The sets of their own are not read.
func (c *Conn) Rules(f nft.Family, table, chain string) ([]nft.Rule, error) {
	var rules []nft.Rule
	err := c.dump(nft.Rule{Family: f, Table: table, Chain: chain}.AllOf(), collect(&rules, nft.ParseRule))
	return rules, err
}
