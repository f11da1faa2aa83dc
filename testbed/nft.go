package testbed

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// A table is text in the plan and expressions in the kernel. This file translates the part of the nft language that the
// modes use, in both directions; what it does not know it shows as "?…", which is never wanted and so is drift.

var (
	families   = map[string]nftables.TableFamily{"ip": nftables.TableFamilyIPv4, "ip6": nftables.TableFamilyIPv6, "inet": nftables.TableFamilyINet, "arp": nftables.TableFamilyARP, "bridge": nftables.TableFamilyBridge, "netdev": nftables.TableFamilyNetdev}
	hooks      = map[string]*nftables.ChainHook{"prerouting": nftables.ChainHookPrerouting, "input": nftables.ChainHookInput, "forward": nftables.ChainHookForward, "output": nftables.ChainHookOutput, "postrouting": nftables.ChainHookPostrouting}
	priorities = map[string]nftables.ChainPriority{"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "srcnat": 100}
	verdicts   = map[string]expr.VerdictKind{"accept": expr.VerdictAccept, "drop": expr.VerdictDrop, "return": expr.VerdictReturn}
)

// nameOf looks a value up in one of the maps above.
func nameOf[V comparable](m map[string]V, v V) (string, bool) {
	for name, value := range m {
		if value == v {
			return name, true
		}
	}
	return "", false
}

// readTables reads all tables of the namespace that the thread is in.
func readTables(ns string) ([]plan.Table, error) {
	if any, err := hasTables(); err != nil || !any {
		return nil, err
	}
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, err
	}
	defer conn.CloseLasting()
	tables, err := conn.ListTables()
	if err != nil {
		return nil, err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, err
	}
	var out []plan.Table
	for _, t := range tables {
		family, ok := nameOf(families, t.Family)
		if !ok {
			family = strconv.Itoa(int(t.Family))
		}
		var bodies []string
		for _, c := range chains {
			if c.Table.Name != t.Name || c.Table.Family != t.Family {
				continue
			}
			var b strings.Builder
			fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
			if c.Hooknum != nil {
				b.WriteString("\t\t" + header(c) + "\n")
			}
			rules, err := conn.GetRules(t, c)
			if err != nil {
				return nil, fmt.Errorf("rules of %s %s: %w", t.Name, c.Name, err)
			}
			for _, r := range rules {
				b.WriteString("\t\t" + ruleText(family, r.Exprs) + "\n")
			}
			b.WriteString("\t}\n")
			bodies = append(bodies, b.String())
		}
		// What is not a chain has no place in the plan. (The library forgets that this number is in network order.)
		use := binaryutil.BigEndian.Uint32(binaryutil.NativeEndian.PutUint32(t.Use))
		if others := int(use) - len(bodies); others > 0 {
			bodies = append(bodies, fmt.Sprintf("\t?%d sets or objects\n", others))
		}
		out = append(out, plan.Table{Namespace: ns, Family: family, Name: t.Name, Body: strings.Join(bodies, "\n")})
	}
	return out, nil
}

// hasTables asks in one message: most namespaces are pods and have none.
func hasTables() (bool, error) {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, unix.NLM_F_DUMP)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	messages, err := req.Execute(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) {
		return false, nil // a kernel without nftables
	}
	return len(messages) > 0, err
}

func header(c *nftables.Chain) string {
	hook := "?"
	for name, h := range hooks {
		if *h == *c.Hooknum {
			hook = name
		}
	}
	priority := strconv.Itoa(int(*c.Priority))
	if name, ok := nameOf(priorities, *c.Priority); ok {
		priority = name
	}
	policy := "accept"
	if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
		policy = "drop"
	}
	return fmt.Sprintf("type %s hook %s priority %s; policy %s;", c.Type, hook, priority, policy)
}

// writeTable makes a table anew, in one transaction.
func writeTable(t plan.Table, exists bool) error {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return err
	}
	defer conn.CloseLasting()
	family, ok := families[t.Family]
	if !ok {
		return fmt.Errorf("there is no table family %q", t.Family)
	}
	table := &nftables.Table{Name: t.Name, Family: family}
	if exists {
		conn.DelTable(table)
	}
	conn.AddTable(table)
	var chain *nftables.Chain
	for line := range strings.Lines(t.Body) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		switch {
		case line == "" || line == "}":
		case words[0] == "chain" && len(words) > 1:
			chain = &nftables.Chain{Name: words[1], Table: table}
			if !strings.Contains(t.Body, "\tchain "+words[1]+" {\n\t\ttype ") {
				conn.AddChain(chain)
			}
		case chain == nil:
			return fmt.Errorf("table %s: %q stands outside a chain", t.Name, line)
		case words[0] == "type":
			if err := parseHeader(chain, words); err != nil {
				return fmt.Errorf("table %s: %q: %w", t.Name, line, err)
			}
			conn.AddChain(chain)
		default:
			exprs, err := ruleExprs(t.Family, words)
			if err != nil {
				return fmt.Errorf("table %s: %q: %w", t.Name, line, err)
			}
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
		}
	}
	return conn.Flush()
}

func deleteTable(t plan.Table) error {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return err
	}
	defer conn.CloseLasting()
	conn.DelTable(&nftables.Table{Name: t.Name, Family: families[t.Family]})
	return conn.Flush()
}

func parseHeader(c *nftables.Chain, words []string) error {
	// type nat hook postrouting priority srcnat; policy accept;
	if len(words) != 8 {
		return fmt.Errorf("a chain's header has eight words")
	}
	c.Type = nftables.ChainType(words[1])
	c.Hooknum = hooks[words[3]]
	name := strings.TrimSuffix(words[5], ";")
	priority, ok := priorities[name]
	if !ok {
		n, err := strconv.Atoi(name)
		if err != nil {
			return fmt.Errorf("there is no priority %q", name)
		}
		priority = nftables.ChainPriority(n)
	}
	policy := nftables.ChainPolicyAccept
	if strings.TrimSuffix(words[7], ";") == "drop" {
		policy = nftables.ChainPolicyDrop
	}
	c.Priority, c.Policy = &priority, &policy
	if c.Hooknum == nil {
		return fmt.Errorf("there is no hook %q", words[3])
	}
	return nil
}

// field is what a match looks at: bytes of a header, or what the kernel knows of the packet.
type field struct {
	words  string // as nft(8) writes it
	base   expr.PayloadBase
	offset uint32
	length uint32
	meta   expr.MetaKey // where length is 0
	proto  byte         // l4proto that nft(8) checks before it looks
}

var fields = []field{
	{words: "ip saddr", base: expr.PayloadBaseNetworkHeader, offset: 12, length: 4},
	{words: "ip daddr", base: expr.PayloadBaseNetworkHeader, offset: 16, length: 4},
	{words: "ip6 saddr", base: expr.PayloadBaseNetworkHeader, offset: 8, length: 16},
	{words: "ip6 daddr", base: expr.PayloadBaseNetworkHeader, offset: 24, length: 16},
	{words: "udp dport", base: expr.PayloadBaseTransportHeader, offset: 2, length: 2, proto: unix.IPPROTO_UDP},
	{words: "tcp dport", base: expr.PayloadBaseTransportHeader, offset: 2, length: 2, proto: unix.IPPROTO_TCP},
	{words: "meta mark", meta: expr.MetaKeyMARK},
	{words: "iifname", meta: expr.MetaKeyIIFNAME},
	{words: "oifname", meta: expr.MetaKeyOIFNAME},
}

// ruleExprs compiles a rule as nft(8) does.
func ruleExprs(family string, words []string) ([]expr.Any, error) {
	var out []expr.Any
	for len(words) > 0 {
		if f, rest, ok := cutField(words); ok {
			op := expr.CmpOpEq
			if len(rest) > 0 && rest[0] == "!=" {
				op, rest = expr.CmpOpNeq, rest[1:]
			}
			if len(rest) == 0 {
				return nil, fmt.Errorf("%s is compared with nothing", f.words)
			}
			match, err := f.compile(op, rest[0])
			if err != nil {
				return nil, err
			}
			out, words = append(out, match...), rest[1:]
			continue
		}
		switch word := words[0]; word {
		case "masquerade":
			m := &expr.Masq{}
			if len(words) > 1 && words[1] == "fully-random" {
				m.FullyRandom, words = true, words[1:]
			}
			out = append(out, m)
		case "notrack":
			out = append(out, &expr.Notrack{})
		default:
			kind, ok := verdicts[word]
			if !ok {
				return nil, fmt.Errorf("%q is not known", word)
			}
			out = append(out, &expr.Verdict{Kind: kind})
		}
		words = words[1:]
	}
	return out, nil
}

func cutField(words []string) (field, []string, bool) {
	for _, f := range fields {
		if name := strings.Fields(f.words); len(words) >= len(name) && slices.Equal(words[:len(name)], name) {
			return f, words[len(name):], true
		}
	}
	return field{}, words, false
}

func (f field) compile(op expr.CmpOp, value string) ([]expr.Any, error) {
	var out []expr.Any
	if f.proto != 0 {
		out = append(out,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.proto}})
	}
	switch {
	case f.length == 0 && f.meta == expr.MetaKeyMARK:
		n, err := strconv.ParseUint(value, 0, 32)
		if err != nil {
			return nil, err
		}
		return append(out, &expr.Meta{Key: f.meta, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: binaryutil.NativeEndian.PutUint32(uint32(n))}), nil
	case f.length == 0:
		name, err := strconv.Unquote(value)
		if err != nil {
			return nil, err
		}
		data := make([]byte, unix.IFNAMSIZ)
		if begin, ok := strings.CutSuffix(name, "*"); ok {
			data = make([]byte, len(begin)) // just as much is compared
		}
		copy(data, name)
		return append(out, &expr.Meta{Key: f.meta, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}), nil
	case f.length == 2:
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return nil, err
		}
		return append(out, f.load(2), &expr.Cmp{Op: op, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(n))}), nil
	}
	p, err := netip.ParsePrefix(value)
	if err != nil {
		a, err := netip.ParseAddr(value)
		if err != nil {
			return nil, err
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	address := p.Masked().Addr().AsSlice()
	if p.Bits()%8 == 0 && p.Bits() > 0 { // nft loads just the bytes that count
		n := p.Bits() / 8
		return append(out, f.load(uint32(n)), &expr.Cmp{Op: op, Register: 1, Data: address[:n]}), nil
	}
	return append(out, f.load(f.length),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: f.length, Mask: mask(p.Bits(), int(f.length)), Xor: make([]byte, f.length)},
		&expr.Cmp{Op: op, Register: 1, Data: address}), nil
}

func (f field) load(n uint32) *expr.Payload {
	return &expr.Payload{DestRegister: 1, Base: f.base, Offset: f.offset, Len: n}
}

func mask(bits, length int) []byte {
	m := make([]byte, length)
	for i := range bits {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

// ruleText writes a rule as nft(8) would.
func ruleText(family string, exprs []expr.Any) string {
	var words []string
	var on field
	loaded, bits := false, 0
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Meta:
			on, loaded = field{words: fmt.Sprintf("?meta%d", e.Key), meta: e.Key}, true
			if e.Key == expr.MetaKeyL4PROTO {
				on.words = "meta l4proto"
			}
			for _, f := range fields {
				if f.length == 0 && f.meta == e.Key {
					on = f
				}
			}
		case *expr.Payload:
			// A port is of the protocol that was compared just before.
			var proto byte
			if n := len(words); n > 0 && strings.HasPrefix(words[n-1], "meta l4proto ") && e.Base == expr.PayloadBaseTransportHeader {
				p, _ := strconv.Atoi(strings.TrimPrefix(words[n-1], "meta l4proto "))
				proto, words = byte(p), words[:n-1]
			}
			on, loaded, bits = field{words: fmt.Sprintf("?payload%d,%d,%d", e.Base, e.Offset, e.Len), length: e.Len}, true, int(e.Len)*8
			for _, f := range fields {
				if f.length >= e.Len && f.length > 0 && f.base == e.Base && f.offset == e.Offset && f.proto == proto && (f.base != expr.PayloadBaseNetworkHeader || strings.HasPrefix(f.words, family+" ")) {
					on = f
				}
			}
		case *expr.Bitwise:
			bits = 0
			for bits < len(e.Mask)*8 && e.Mask[bits/8]&(0x80>>(bits%8)) != 0 {
				bits++
			}
			if !bytes.Equal(e.Mask, mask(bits, len(e.Mask))) || slices.ContainsFunc(e.Xor, func(b byte) bool { return b != 0 }) {
				words = append(words, "?bitwise")
			}
		case *expr.Cmp:
			if !loaded {
				words = append(words, "?cmp")
				continue
			}
			op := map[expr.CmpOp]string{expr.CmpOpEq: "", expr.CmpOpNeq: "!= "}
			sign, ok := op[e.Op]
			if !ok {
				sign = "? "
			}
			words = append(words, on.words+" "+sign+on.value(e.Data, bits))
		case *expr.Masq:
			word := "masquerade"
			if e.FullyRandom {
				word += " fully-random"
			}
			if e.Random || e.Persistent || e.ToPorts {
				word += " ?"
			}
			words = append(words, word)
		case *expr.Notrack:
			words = append(words, "notrack")
		case *expr.Counter:
			words = append(words, "counter")
		case *expr.Verdict:
			word, ok := nameOf(verdicts, e.Kind)
			if !ok {
				word = fmt.Sprintf("?verdict%d %s", e.Kind, e.Chain)
			}
			words = append(words, word)
		default:
			words = append(words, strings.ReplaceAll(fmt.Sprintf("?%T", e), "*expr.", ""))
		}
	}
	return strings.Join(words, " ")
}

func (f field) value(data []byte, bits int) string {
	switch {
	case f.length == 0 && f.meta == expr.MetaKeyMARK && len(data) == 4:
		return fmt.Sprintf("0x%08x", binaryutil.NativeEndian.Uint32(data))
	case f.length == 0 && (f.meta == expr.MetaKeyIIFNAME || f.meta == expr.MetaKeyOIFNAME):
		name := string(bytes.TrimRight(data, "\x00"))
		if len(data) < unix.IFNAMSIZ {
			name += "*"
		}
		return strconv.Quote(name)
	case f.length == 0 && f.meta == expr.MetaKeyL4PROTO && len(data) == 1:
		return strconv.Itoa(int(data[0]))
	case f.length == 2 && len(data) == 2:
		return strconv.Itoa(int(binaryutil.BigEndian.Uint16(data)))
	case f.length == 4 || f.length == 16:
		full := make([]byte, f.length)
		copy(full, data)
		a, _ := netip.AddrFromSlice(full)
		if bits == len(full)*8 {
			return a.String()
		}
		return netip.PrefixFrom(a, bits).String()
	}
	return fmt.Sprintf("?%x", data)
}
