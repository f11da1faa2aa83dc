package netfilter

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"labnet/lab/nft"
)

// Ruleset reads all of it, as it was at one moment. A kernel without nftables has none. Of the sets that rules have inline those that
// are known are not read.
func (c *Conn) Ruleset(known *nft.Known) (*nft.Ruleset, error) {
	for range 20 {
		r, err := c.once(known)
		if errors.Is(err, unix.EINVAL) && r == nil {
			return &nft.Ruleset{}, nil // nobody answers for nftables
		}
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOENT) {
			return r, err
		}
	}
	return nil, errors.New("it changes all the time")
}

func (c *Conn) once(known *nft.Known) (*nft.Ruleset, error) {
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
	if err := c.contents(&r, known); err != nil {
		return &r, err
	}
	after, err := c.generation()
	if err == nil && after != before {
		err = unix.EINTR
	}
	return &r, err
}

func (c *Conn) contents(r *nft.Ruleset, known *nft.Known) error {
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
	} {
		if err := c.dump(nft.Message{Kind: part.kind}, part.add); err != nil {
			return fmt.Errorf("%s: %w", part.what, err)
		}
	}
	if err := c.rules(r.Chains, known, &rules); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	type name struct {
		family     nft.Family
		table, set string
	}
	anonymous := map[name]nft.Contents{}
	by := map[name]nft.Rule{} // the rule whose own a set is
	for _, l := range rules {
		for _, ref := range l.Exprs.Refs() {
			if set, ok := strings.CutPrefix(strings.TrimSuffix(ref, "\n"), "set "); ok {
				by[name{l.Family, l.Table, set}] = l
			}
		}
	}
	for _, s := range sets {
		if c, ok := known.Of(s); ok {
			anonymous[name{s.Family, s.Table, s.Name}] = c
			continue
		}
		elements, err := c.elements(s, by[name{s.Family, s.Table, s.Name}])
		if err != nil {
			return fmt.Errorf("elements of %s %s %s: %w", s.Family, s.Table, s.Name, err)
		}
		if s.Flags&nft.Anonymous != 0 {
			anonymous[name{s.Family, s.Table, s.Name}] = nft.NewInline(s, s.Join(elements)).Contents()
			continue
		}
		r.Sets = append(r.Sets, s)
		r.Elements = append(r.Elements, s.Join(elements)...)
	}
	for _, l := range rules {
		l, err := l.Adopt(func(set string) (nft.Contents, bool) { c, ok := anonymous[name{l.Family, l.Table, set}]; return c, ok })
		if err != nil {
			return err
		}
		r.Rules = append(r.Rules, l)
	}
	return nil
}

// manyChains is from how many on their rules are read chain by chain. To go on where it stopped the kernel goes through all rules
// before, so that those of 10,000 services, read at once, take it ten seconds; and it finds a chain without a search.
const manyChains = 2000

// rules reads those of all chains.
func (c *Conn) rules(chains []nft.Chain, known *nft.Known, rules *[]nft.Rule) error {
	add := collect(rules, known.Reader())
	if len(chains) < manyChains {
		return c.dump(nft.Message{Kind: nft.GetRule}, add)
	}
	for _, chain := range chains {
		if err := c.dump(nft.Rule{Family: chain.Family, Table: chain.Table, Chain: chain.Name}.AllOf(), add); err != nil {
			return err
		}
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
