package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// IPTables writes what follows "-A CHAIN" where iptables-save prints the rule; false where iptables has no words for it, or
// none are known here.
func (r Rule) IPTables() (string, bool) {
	list, err := r.Exprs.List()
	if err != nil {
		return "", false
	}
	w := &saver{family: r.Family}
	for len(list) > 0 {
		n := w.take(list)
		if n == 0 {
			return "", false
		}
		list = list[n:]
	}
	words := w.rest
	if w.protocol != "" {
		words = append([]string{"-p " + w.protocol}, words...)
	}
	return strings.Join(slices.Concat(w.addresses, w.devices, words), " "), true
}

// saver writes a rule as iptables-save does: addresses first, then devices, then the protocol.
type saver struct {
	family    Family
	addresses []string
	devices   []string
	protocol  string
	rest      []string
}

func (w *saver) say(format string, args ...any) int {
	w.rest = append(w.rest, fmt.Sprintf(format, args...))
	return 1
}

// take writes the first expressions, and says how many they were; 0 where they have no form.
func (w *saver) take(list []Expr) int {
	switch e := list[0].(type) {
	case Counter:
		return 1
	case Match:
		return w.match(e)
	case Target:
		return w.target(e)
	case Immediate:
		if v := e.Data.Verdict; v != nil {
			switch v.Code {
			case Jump:
				return w.say("-j %s", v.Chain)
			case Goto:
				return w.say("-g %s", v.Chain)
			case Accept, Drop, Return:
				return w.say("-j %s", map[int32]string{Accept: "ACCEPT", Drop: "DROP", Return: "RETURN"}[v.Code])
			}
		}
	case Meta, Payload:
		var mask []byte
		n := 1
		if len(list) > 2 {
			if b, ok := list[1].(Bitwise); ok && b.Mask != nil {
				mask, n = b.Mask.Value, 2
			}
		}
		if len(list) > n {
			if c, ok := list[n].(Cmp); ok && (c.Op == cmpEq || c.Op == cmpNeq) && w.compare(e, mask, c) {
				return n + 1
			}
		}
	}
	return 0
}

// invert is what stands before an option that is inverted.
func invert(yes bool) string {
	if yes {
		return "! "
	}
	return ""
}

func (w *saver) compare(load Expr, mask []byte, c Cmp) bool {
	not, value := invert(c.Op == cmpNeq), c.Data.Value
	switch e := load.(type) {
	case Meta:
		switch {
		case e.Key == metaL4Proto && mask == nil && len(value) == 1 && transports[value[0]] != "" && not == "":
			w.protocol = transports[value[0]]
			return true
		case e.Key == metaMark && len(mask) == 4 && len(value) == 4:
			w.say("-m mark %s--mark %#x/%#x", not, binary.NativeEndian.Uint32(value), binary.NativeEndian.Uint32(mask))
			return true
		case (e.Key == metaIifname || e.Key == metaOifname) && mask == nil && len(value) > 0 && value[len(value)-1] == 0:
			letter := map[uint32]string{metaIifname: "i", metaOifname: "o"}[e.Key]
			w.devices = append(w.devices, fmt.Sprintf("%s-%s %s", not, letter, strings.TrimRight(string(value), "\x00")))
			return true
		}
	case Payload:
		if e.Base == transportHeader && e.Len == 2 && mask == nil && w.protocol != "" {
			if name, ok := map[uint32]string{0: "sport", 2: "dport"}[e.Offset]; ok {
				w.say("-m %s %s--%s %d", w.protocol, not, name, binary.BigEndian.Uint16(value))
				return true
			}
		}
		size, source := 4, uint32(12)
		if w.family == IPv6 {
			size, source = 16, 8
		}
		if e.Base != networkHeader || len(value) > size {
			return false
		}
		letter, ok := map[uint32]string{source: "s", source + uint32(size): "d"}[e.Offset]
		bits := len(value) * 8
		if mask != nil {
			bits = ones(mask)
		}
		a, valid := netip.AddrFromSlice(append(append([]byte{}, value...), make([]byte, size-len(value))...))
		if ok && valid && bits >= 0 {
			w.addresses = append(w.addresses, fmt.Sprintf("%s-%s %s/%d", not, letter, a, bits))
			return true
		}
	}
	return false
}

// ones is how many bits of a mask are set, if those are its first.
func ones(mask []byte) int {
	for n := range len(mask)*8 + 1 {
		if string(maskOf(n, len(mask))) == string(mask) {
			return n
		}
	}
	return -1
}

func (w *saver) match(e Match) int {
	if name, fields, ok := e.ipset(); ok {
		return w.say("-m set --match-set %s %s", name, strings.Join(fields, ","))
	}
	switch key := fmt.Sprintf("%s %d", e.Name, e.Rev); {
	case len(e.Info) < translations[key].size:
	case key == "comment 0":
		text, _, _ := strings.Cut(string(e.Info), "\x00")
		return w.say("-m comment --comment %s", saved(text))
	case (key == "tcp 0" || key == "udp 0") && string(e.Info) == string(anyPort()):
		return w.say("-m %s", e.Name)
	case key == "conntrack 3":
		mask, not := binary.NativeEndian.Uint16(e.Info[150:]), binary.NativeEndian.Uint16(e.Info[148:]) != 0
		if string(e.Info) == string(stateInfo(mask, binary.NativeEndian.Uint16(e.Info[148:]))) {
			names := listed(mask, false, []flag{{1, "INVALID"}, {8, "NEW"}, {4, "RELATED"}, {2, "ESTABLISHED"}, {256, "UNTRACKED"}, {64, "SNAT"}, {128, "DNAT"}})
			return w.say("-m conntrack %s--ctstate %s", invert(not), names)
		}
	case key == "addrtype 1" && string(e.Info) == string(localInfo(0)):
		return w.say("-m addrtype --src-type LOCAL")
	case key == "addrtype 1" && string(e.Info) == string(localInfo(2)):
		return w.say("-m addrtype --dst-type LOCAL")
	case key == "statistic 0" && binary.NativeEndian.Uint32(e.Info) == 0:
		return w.say("-m statistic --mode random --probability %.11f", float64(binary.NativeEndian.Uint32(e.Info[4:]))/(1<<31))
	case key == "multiport 1" && len(e.Info) == 48 && e.Info[1] <= 15:
		ports := make([]uint16, e.Info[1])
		words := make([]string, len(ports))
		for i := range ports {
			ports[i] = binary.NativeEndian.Uint16(e.Info[2+2*i:])
			words[i] = strconv.Itoa(int(ports[i]))
		}
		if string(e.Info) == string(multiportInfo(ports)) {
			return w.say("-m multiport --dports %s", strings.Join(words, ","))
		}
	case key == "recent 1" && len(e.Info) >= 232:
		return w.recent(e.Info)
	}
	return 0
}

func (w *saver) recent(info []byte) int {
	list, _, _ := strings.Cut(string(info[10:210]), "\x00")
	seconds := binary.NativeEndian.Uint32(info)
	options := ""
	switch string(info) {
	case string(recentInfo(list, recentCheck|recentReap, seconds)):
		options = fmt.Sprintf("--rcheck --seconds %d --reap", seconds)
	case string(recentInfo(list, recentSet, 0)):
		options = "--set"
	default:
		return 0
	}
	return w.say("-m recent %s --name %s", options, list) // iptables-save adds a --mask that makes another structure
}

// saved writes a text as iptables-save does: in quotes unless it is one word.
func saved(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == "" {
		return text
	}
	return strconv.Quote(text)
}

func (w *saver) target(e Target) int {
	switch key := fmt.Sprintf("%s %d", e.Name, e.Rev); {
	case len(e.Info) < translations[key].size:
	case key == "MARK 2":
		return w.say("-j MARK --set-xmark %#x/%#x", binary.NativeEndian.Uint32(e.Info), binary.NativeEndian.Uint32(e.Info[4:]))
	case key == "DNAT 2":
		if to, ok := strings.CutPrefix(rangeText(e.Info, w.family), " to "); ok {
			return w.say("-j DNAT --to-destination %s", to)
		}
	case key == "MASQUERADE 0":
		switch masqueradeText(e.Info, w.family) {
		case "masquerade":
			return w.say("-j MASQUERADE")
		case "masquerade fully-random":
			return w.say("-j MASQUERADE --random-fully")
		}
	case key == "REJECT 0" && rejectText(e.Info, w.family) == "reject":
		return w.say("-j REJECT --reject-with %s", map[Family]string{IPv4: "icmp-port-unreachable", IPv6: "icmp6-port-unreachable"}[w.family])
	}
	return 0
}
