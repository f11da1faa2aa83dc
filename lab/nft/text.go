package nft

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Text is the ruleset as "nft list ruleset" prints it.
func (r *Ruleset) Text() string {
	var b strings.Builder
	for _, t := range r.Tables {
		r.table(&b, t)
	}
	return b.String()
}

func (r *Ruleset) table(b *strings.Builder, t Table) {
	in := r.Of(t.Family, t.Name)
	sets := map[string]Set{}
	for _, s := range in.Sets {
		sets[s.Name] = s
	}
	find := func(name string) (Set, bool) { s, ok := sets[name]; return s, ok }
	fmt.Fprintf(b, "table %s %s {\n", t.Family, t.Name)
	separator := ""
	if flags := t.FlagNames(); flags != "" {
		b.WriteString("\tflags " + flags + "\n")
		separator = "\n"
	}
	if t.Comment != "" {
		fmt.Fprintf(b, "\tcomment \"%s\"\n", t.Comment)
	}
	block := func(text string) {
		b.WriteString(separator + text)
		separator = "\n"
	}
	for _, o := range in.Objects {
		block(o.text())
	}
	elements := map[string][]Element{}
	for _, e := range in.Elements {
		elements[e.Set] = append(elements[e.Set], e)
	}
	for _, s := range in.Sets {
		if s.Flags&Anonymous == 0 {
			block(s.Text(elements[s.Name]))
		}
	}
	rules := map[string][]Rule{}
	for _, l := range in.Rules {
		rules[l.Chain] = append(rules[l.Chain], l)
	}
	for _, c := range in.Chains {
		text := "\tchain " + c.Name + " {\n" + c.header()
		for _, l := range rules[c.Name] {
			text += "\t\t" + l.Text(find) + "\n"
		}
		block(text + "\t}\n")
	}
	b.WriteString("}\n")
}

// FlagNames are the table's flags as nft(8) writes them.
func (t Table) FlagNames() string {
	var names []string
	for i, name := range []string{"dormant", "owner", "persist"} {
		if t.Flags&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

var objectNames = map[uint32]string{CounterObject: "counter", QuotaObject: "quota", LimitObject: "limit", FlowtableObject: "flowtable"}

// KindName is what nft(8) calls the object's kind.
func (o Object) KindName() string {
	if kind, ok := objectNames[o.Type]; ok {
		return kind
	}
	return fmt.Sprintf("?object%d", o.Type)
}

// Body is what nft(8) writes between the object's braces.
func (o Object) Body() string {
	e, err := o.expr()
	if err != nil {
		return "?"
	}
	return strings.TrimPrefix((&writer{}).statement(e), o.KindName()+" ")
}

// expr is the expression that does what the object does.
func (o Object) expr() (Expr, error) {
	b, at := begin(encodeField(nil, 1, reflect.ValueOf(o.KindName())), 2|nested)
	return parseExpr(end(append(b, o.Data...), at))
}

// Forget returns the object without what the kernel counts.
func (o Object) Forget() Object {
	if e, err := o.expr(); err == nil && objectNames[o.Type] != "" {
		o.Data = string(attributes(forget(e)))
	}
	return o
}

func (o Object) text() string {
	text := fmt.Sprintf("\t%s %s {\n", o.KindName(), o.Name)
	if o.Comment != "" {
		text += fmt.Sprintf("\t\tcomment \"%s\"\n", o.Comment)
	}
	return text + "\t\t" + o.Body() + "\n\t}\n"
}

// HookName is the hook of a chain as nft(8) names it.
func (c Chain) HookName() string {
	names := []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
	switch c.Family {
	case NetDev:
		names = []string{"ingress", "egress"}
	case ARP:
		names = []string{"input", "output", "forward"}
	}
	if int(c.Hook) >= len(names) {
		return "?" + strconv.Itoa(int(c.Hook))
	}
	return names[c.Hook]
}

// header is what stands before the rules.
func (c Chain) header() string {
	text := ""
	if c.Comment != "" {
		text = fmt.Sprintf("\t\tcomment \"%s\"\n", c.Comment)
	}
	if c.Type != "" {
		text += "\t\t" + c.base() + "\n"
	}
	return text
}

// Declaration is what nft(8) takes for the chain between braces.
func (c Chain) Declaration() []string {
	var parts []string
	if c.Type != "" {
		parts = append(parts, c.base())
	}
	if c.Comment != "" {
		parts = append(parts, fmt.Sprintf("comment \"%s\";", c.Comment))
	}
	return parts
}

// base is how packets come into the chain.
func (c Chain) base() string {
	policy := "accept"
	if c.Policy == Drop {
		policy = "drop"
	}
	text := fmt.Sprintf("type %s hook %s", c.Type, c.HookName())
	switch devices := strings.Fields(c.Devices); len(devices) {
	case 0:
	case 1:
		text += ` device "` + devices[0] + `"`
	default:
		text += ` devices = { "` + strings.Join(devices, `", "`) + `" }`
	}
	text += fmt.Sprintf(" priority %s; policy %s;", c.priority(), policy)
	if c.Flags&2 != 0 {
		text += " flags offload;"
	}
	return text
}

// priority is written by name where nft(8) has one for the family and the hook.
func (c Chain) priority() string {
	type named struct {
		n    int32
		name string
		ok   bool
	}
	l3 := c.Family == IPv4 || c.Family == IPv6 || c.Family == INet
	names := []named{
		{-300, "raw", l3}, {-150, "mangle", l3}, {-100, "dstnat", l3 && c.Hook == Prerouting}, {0, "filter", true}, {50, "security", l3},
		{100, "srcnat", l3 && c.Hook == Postrouting},
	}
	if c.Family == Bridge {
		names = []named{{-300, "dstnat", c.Hook == Prerouting}, {-200, "filter", true}, {100, "out", c.Hook == Output}, {300, "srcnat", c.Hook == Postrouting}}
	}
	for _, p := range names {
		d := c.Priority - p.n
		switch {
		case d < -10 || d > 10:
			continue
		case !p.ok:
			return strconv.Itoa(int(c.Priority))
		case d > 0:
			return fmt.Sprintf("%s + %d", p.name, d)
		case d < 0:
			return fmt.Sprintf("%s - %d", p.name, -d)
		}
		return p.name
	}
	return strconv.Itoa(int(c.Priority))
}
