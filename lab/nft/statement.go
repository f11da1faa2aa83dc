package nft

import (
	"fmt"
	"strconv"
	"strings"
)

// statement writes what a rule does with a packet.
func (w *writer) statement(e Expr) string {
	switch e := e.(type) {
	case Counter:
		return fmt.Sprintf("counter packets %d bytes %d", e.Packets, e.Bytes)
	case Notrack:
		return "notrack"
	case Masq:
		return "masquerade" + w.ports(e.PortMin, e.PortMax, " to ") + natFlags(e.Flags)
	case Redir:
		return "redirect" + w.ports(e.PortMin, e.PortMax, " to ") + natFlags(e.Flags)
	case NAT:
		return w.nat(e)
	case Reject:
		return w.reject(e)
	case Log:
		return logText(e)
	case Limit:
		return limitText(e)
	case ConnLimit:
		return "ct count " + over(e.Flags) + strconv.Itoa(int(e.Count))
	case Quota:
		n, unit := rate(e.Bytes)
		text := fmt.Sprintf("quota %s%d %s", over(e.Flags), n, unit)
		if e.Consumed != 0 {
			n, unit := rate(e.Consumed)
			text += fmt.Sprintf(" used %d %s", n, unit)
		}
		return text
	case Objref:
		kind, ok := map[uint32]string{CounterObject: "counter", QuotaObject: "quota", LimitObject: "limit"}[e.Type]
		if e.SetName != "" {
			set, _ := w.sets(e.SetName)
			left, _ := w.left(e.Sreg, int(set.KeyLen))
			return objectNames[set.ObjType] + " name " + left + " map @" + e.SetName
		}
		if !ok {
			kind = fmt.Sprintf("?object%d", e.Type)
		}
		return kind + ` name "` + e.Name + `"`
	case Dynset:
		return w.dynset(e)
	case Dup:
		text := "dup"
		if e.Addr != 0 {
			text += " to " + w.as(e.Addr, addressType(w.family))
			if e.Dev != 0 {
				text += " device " + w.as(e.Dev, typeIfindex)
			}
		} else if e.Dev != 0 {
			text += " to " + w.as(e.Dev, typeIfindex)
		}
		return text
	case Fwd:
		if e.Addr != 0 {
			return fmt.Sprintf("fwd %s to %s device %s", Family(e.Family), w.as(e.Addr, addressType(Family(e.Family))), w.as(e.Dev, typeIfindex))
		}
		return "fwd to " + w.as(e.Dev, typeIfindex)
	case TProxy:
		return w.tproxy(e)
	case NFQueue:
		return w.queue(e)
	case Match:
		return xtText("match", e.Name, e.Rev, e.Info, w.family)
	case Target:
		return xtText("target", e.Name, e.Rev, e.Info, w.family)
	}
	return "?" + e.name()
}

// ports writes a register with a port, or two with a range of them.
func (w *writer) ports(from, to Reg, before string) string {
	if from == 0 {
		return ""
	}
	text := before + ":" + w.as(from, typePort)
	if to != 0 && to != from {
		text += "-" + w.as(to, typePort)
	}
	return text
}

func natFlags(flags uint32) string {
	var names []string
	for _, f := range []struct {
		bit  uint32
		name string
	}{{natRandom, "random"}, {natFullyRandom, "fully-random"}, {natPersistent, "persistent"}} {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " " + strings.Join(names, ",")
}

const (
	natRandom      = 4
	natPersistent  = 8
	natFullyRandom = 16
	natNetmap      = 64
)

func addressType(f Family) *datatype {
	if f == IPv6 {
		return typeIPv6
	}
	return typeIPv4
}

func (w *writer) nat(e NAT) string {
	text := map[uint32]string{0: "snat", 1: "dnat"}[e.Type]
	family := Family(e.Family)
	t := addressType(family)
	from := w.reg(e.AddrMin)
	// A map can give the address and the port at once.
	both := e.AddrMin != 0 && len(from.data) == 2
	if w.family == INet || both {
		text += " " + family.String()
	}
	if e.Flags&natNetmap != 0 {
		text += " prefix"
	}
	if e.AddrMin == 0 && e.PortMin == 0 {
		return text + natFlags(e.Flags)
	}
	text += " to"
	if e.AddrMin != 0 {
		address := w.as(e.AddrMin, t)
		if to := w.reg(e.AddrMax); e.AddrMax != 0 && e.AddrMax != e.AddrMin && from.value != nil && to.value != nil {
			address = t.interval(from.value, to.value)
		}
		if e.PortMin != 0 && !both && family == IPv6 && from.value != nil {
			address = "[" + strings.ReplaceAll(address, "-", "]-[") + "]"
		}
		text += " " + address
	} else {
		text += " "
	}
	if !both {
		text += w.ports(e.PortMin, e.PortMax, "")
	}
	return text + natFlags(e.Flags)
}

func (w *writer) reject(e Reject) string {
	const unreachable, reset, any = 0, 1, 2
	quiet := true
	family := w.family
	if family == INet || family == Bridge || family == NetDev {
		if e.Type != any {
			quiet = false
			family = map[string]Family{"ip": IPv4, "ip6": IPv6}[w.header[networkHeader]]
			if d := w.implied[networkHeader]; d != nil {
				w.hidden[d.statement], w.implied[networkHeader] = true, nil
			}
		}
	} else if d := w.implied[transportHeader]; d != nil && e.Type == reset {
		w.hidden[d.statement], w.implied[transportHeader] = true, nil
	}
	switch {
	case e.Type == reset:
		return "reject with tcp reset"
	case e.Type == any && e.Code == 1:
		return "reject"
	case e.Type == any:
		return "reject with icmpx " + typeCodeX.value([]byte{e.Code})
	case family == IPv6 && quiet && e.Code == 4, family == IPv4 && quiet && e.Code == 3:
		return "reject"
	case family == IPv6:
		return "reject with icmpv6 " + typeCodeV6.value([]byte{e.Code})
	}
	return "reject with icmp " + typeCode.value([]byte{e.Code})
}

var logLevels = []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"}

func logText(e Log) string {
	text := "log"
	if e.Prefix != "" {
		text += ` prefix "` + e.Prefix + `"`
	}
	if e.Group != nil {
		text += " group " + strconv.Itoa(int(*e.Group))
	}
	if e.Snaplen != 0 {
		text += " snaplen " + strconv.Itoa(int(e.Snaplen))
	}
	if e.QThreshold != 0 {
		text += " queue-threshold " + strconv.Itoa(int(e.QThreshold))
	}
	if e.Level != nil && *e.Level != 4 && int(*e.Level) < len(logLevels) {
		text += " level " + logLevels[*e.Level]
	}
	const tcpSequence, tcpOptions, ipOptions, uid, mac = 1, 2, 4, 8, 32
	switch flags := e.Flags; {
	case flags&0x2f == 0x2f:
		text += " flags all"
	default:
		if flags&(tcpSequence|tcpOptions) != 0 {
			text += " flags tcp " + (&datatype{symbols: map[uint64]string{tcpSequence: "sequence", tcpOptions: "options"}}).bits(uint64(flags&3), ",")
		}
		for _, f := range []struct {
			bit  uint32
			name string
		}{{ipOptions, "ip options"}, {uid, "skuid"}, {mac, "ether"}} {
			if flags&f.bit != 0 {
				text += " flags " + f.name
			}
		}
	}
	return text
}

func over(flags uint32) string {
	if flags&1 != 0 {
		return "over "
	}
	return ""
}

// rate is a number of bytes in the largest unit that divides it.
func rate(n uint64) (uint64, string) {
	units := []string{"bytes", "kbytes", "mbytes"}
	i := 0
	for n != 0 && i+1 < len(units) && n%1024 == 0 {
		n /= 1024
		i++
	}
	return n, units[i]
}

func limitText(e Limit) string {
	unit, ok := map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}[e.Unit]
	if !ok {
		unit = "error"
	}
	if e.Type == 0 {
		text := fmt.Sprintf("limit rate %s%d/%s", over(e.Flags), e.Rate, unit)
		if e.Burst != 0 && e.Burst != 5 {
			text += fmt.Sprintf(" burst %d packets", e.Burst)
		}
		return text
	}
	n, size := rate(e.Rate)
	text := fmt.Sprintf("limit rate %s%d %s/%s", over(e.Flags), n, size, unit)
	if e.Burst != 0 {
		n, size := rate(uint64(e.Burst))
		text += fmt.Sprintf(" burst %d %s", n, size)
	}
	return text
}

func (w *writer) dynset(e Dynset) string {
	set, _ := w.sets(e.Set)
	left, _ := w.left(e.SregKey, int(max(set.KeyLen, 1)))
	text := fmt.Sprintf("%s @%s { %s", map[uint32]string{0: "add", 1: "update", 2: "delete"}[e.Op], e.Set, left)
	if e.Timeout != 0 {
		text += " timeout " + duration(e.Timeout)
	}
	if list := e.Expr.list(e.List); list != "" {
		text += " " + stateless(w.family, list)
	}
	if e.SregVal != 0 {
		data, _ := w.left(e.SregVal, int(max(set.DataLen, 1)))
		if o := w.reg(e.SregVal); o.value != nil {
			if t := fieldTypes(set.DataType); len(t) == 1 {
				data = t[0].value(o.value)
			}
		}
		text += " : " + data
	}
	return text + " }"
}

// stateless writes expressions of a set or an element without what the kernel counts.
func stateless(f Family, x Exprs) string {
	text := Text(f, x.Forget(), func(string) (Set, bool) { return Set{}, false })
	return strings.ReplaceAll(text, "counter packets 0 bytes 0", "counter")
}

func (w *writer) tproxy(e TProxy) string {
	text := "tproxy"
	if w.family == INet && e.Family != 0 {
		text += " " + Family(e.Family).String()
	}
	text += " to"
	if e.Addr != 0 {
		address := w.as(e.Addr, addressType(Family(e.Family)))
		if Family(e.Family) == IPv6 && w.reg(e.Addr).value != nil {
			address = "[" + address + "]"
		}
		text += " " + address
	}
	if e.Port != 0 {
		if e.Addr == 0 {
			text += " "
		}
		text += ":" + w.as(e.Port, typePort)
	}
	return text
}

func (w *writer) queue(e NFQueue) string {
	var flags []string
	if e.Flags&1 != 0 {
		flags = append(flags, "bypass")
	}
	if e.Flags&2 != 0 {
		flags = append(flags, "fanout")
	}
	text := "queue"
	if len(flags) > 0 {
		text += " flags " + strings.Join(flags, ",")
	}
	switch {
	case e.Sreg != 0:
		return text + " to " + w.text(e.Sreg)
	case e.Total > 1:
		return fmt.Sprintf("%s to %d-%d", text, e.Num, e.Num+e.Total-1)
	}
	return fmt.Sprintf("%s to %d", text, e.Num)
}
