package testbed

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// ruleActions are those of linux/fib_rules.h that no lab wants.
var ruleActions = map[byte]string{nl.FR_ACT_NOP: "nop", nl.FR_ACT_BLACKHOLE: "blackhole", nl.FR_ACT_UNREACHABLE: "unreachable", nl.FR_ACT_PROHIBIT: "prohibit"}

var ruleKind = inside[plan.Rule]{reads: readRules, sets: setRule, removes: removeRule}

// readRules reads the policy routing rules that the kernel did not make itself.
func readRules(_ *reader, v *visit, f *found) error {
	messages, err := v.dump(unix.RTM_GETRULE, unix.RTM_NEWRULE, make(fixed, ruleHeader))
	if err != nil {
		return err
	}
	for _, m := range messages {
		rule, kernels, err := readRule(v.place.Name, m)
		if err != nil {
			return err
		}
		if !kernels {
			f.add(rule)
		}
	}
	return nil
}

func readRule(ns string, m []byte) (r plan.Rule, kernels bool, err error) {
	family, to, from, tos, action := m[0], int(m[1]), int(m[2]), m[3], m[7]
	flags := binary.NativeEndian.Uint32(m[8:])
	r = plan.Rule{Namespace: ns, V6: family == unix.AF_INET6, Table: int(m[4])}
	var odd []string
	if flags&netlink.FibRuleInvert != 0 {
		odd = append(odd, "not")
	}
	if tos != 0 {
		odd = append(odd, fmt.Sprintf("tos %#02x", tos))
	}
	protocol := 0
	err = attributes(m[ruleHeader:], func(kind uint16, value []byte) {
		switch kind {
		case nl.FRA_DST:
			r.To = netip.PrefixFrom(addrOf(value), to)
		case nl.FRA_SRC:
			r.From = netip.PrefixFrom(addrOf(value), from)
		case nl.FRA_PRIORITY:
			r.Priority = number(value)
		case nl.FRA_FWMARK:
			r.Mark = uint32(number(value))
		case nl.FRA_FWMASK:
			r.Mask = uint32(number(value))
		case nl.FRA_TABLE:
			r.Table = number(value)
		case nl.FRA_PROTOCOL:
			protocol = number(value)
		case nl.FRA_IIFNAME:
			odd = append(odd, "iif "+text(value))
		case nl.FRA_OIFNAME:
			odd = append(odd, "oif "+text(value))
		case nl.FRA_GOTO:
			odd = append(odd, "goto "+strconv.Itoa(number(value)))
		case nl.FRA_PAD:
		case nl.FRA_SUPPRESS_PREFIXLEN:
			if n := int32(number(value)); n >= 0 {
				odd = append(odd, fmt.Sprintf("suppress_prefixlength %d", n))
			}
		default:
			odd = append(odd, fmt.Sprintf("attribute%d %x", kind, value))
		}
	})
	if name, ok := ruleActions[action]; ok {
		odd = append(odd, name)
	}
	r.Odd = strings.Join(odd, " ")
	return r, protocol == unix.RTPROT_KERNEL || !isIP(family), err
}

func newRule(r plan.Rule) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family = netlink.FAMILY_V4
	if r.V6 {
		rule.Family = netlink.FAMILY_V6
	}
	rule.Priority, rule.Table = r.Priority, r.Table
	rule.Src, rule.Dst = ipNet(r.From), ipNet(r.To)
	if r.Mark != 0 || r.Mask != 0 {
		mask := r.Mask
		rule.Mark, rule.Mask = r.Mark, &mask
	}
	return rule
}

func setRule(_ *applier, v *visit, o, _ plan.Rule) error { return v.RuleAdd(newRule(o)) }

func removeRule(_ *applier, v *visit, o plan.Rule) error {
	if o.Odd != "" {
		return v.removeOddRule(o)
	}
	return v.RuleDel(newRule(o))
}

// removeOddRule removes a rule that has something odd.
func (v *visit) removeOddRule(r plan.Rule) error {
	return v.echo(unix.RTM_NEWRULE, ruleHeader, func(m []byte) bool {
		o, kernels, err := readRule(r.Namespace, m)
		return err == nil && !kernels && o == r
	})
}
