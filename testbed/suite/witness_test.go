package suite

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"labnet/lab/plan"
)

// state is one namespace as ip(8), bridge(8), sysctl and nft show it.
type state struct {
	Link       []map[string]any  `json:"link"`
	Addr       []map[string]any  `json:"addr"`
	Route4     []map[string]any  `json:"route4"`
	Route6     []map[string]any  `json:"route6"`
	Rule       []map[string]any  `json:"rule"`
	Neigh      []map[string]any  `json:"neigh"`
	NeighProxy []map[string]any  `json:"neigh_proxy"`
	BridgeLink []map[string]any  `json:"bridge_link"`
	FDB        []map[string]any  `json:"fdb"`
	Sysctl     map[string]string `json:"sysctl"`
	NFT        []string          `json:"nft"`
}

// dump reads a namespace once the kernel has noticed of all its links that they have a carrier: that is a while after they
// are up.
func dump(t *testing.T, ns string) *state {
	t.Helper()
	for range 50 {
		out, err := exec.Command("ip", "-n", ns, "-d", "-j", "link").Output()
		if err != nil {
			t.Fatal(err)
		}
		var links []struct {
			Flags     []string
			Operstate string
			Linkinfo  struct {
				Kind string `json:"info_kind"`
			}
		}
		if err := json.Unmarshal(out, &links); err != nil {
			t.Fatal(err)
		}
		waiting := false
		for _, l := range links {
			unnoticed := l.Operstate == "UNKNOWN" && slices.Contains([]string{"veth", "bridge", "vlan", "macvlan"}, l.Linkinfo.Kind)
			waiting = waiting || unnoticed || l.Operstate == "LOWERLAYERDOWN" || slices.Contains(l.Flags, "NO-CARRIER")
		}
		if !waiting {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return dumpNow(t, ns)
}

// dumpNow reads a namespace with the independent tools.
func dumpNow(t *testing.T, ns string) *state {
	t.Helper()
	s := &state{}
	read := func(into any, args ...string) {
		t.Helper()
		out, err := exec.Command(args[0], args[1:]...).Output()
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(args, " "), err)
		}
		if len(strings.TrimSpace(string(out))) == 0 {
			return
		}
		if err := json.Unmarshal(out, into); err != nil {
			t.Fatalf("%s: %v", strings.Join(args, " "), err)
		}
	}
	read(&s.Link, "ip", "-n", ns, "-d", "-j", "link")
	read(&s.Addr, "ip", "-n", ns, "-d", "-j", "address")
	read(&s.Route4, "ip", "-n", ns, "-d", "-j", "route", "show", "table", "all")
	read(&s.Route6, "ip", "-6", "-n", ns, "-d", "-j", "route", "show", "table", "all")
	read(&s.Rule, "ip", "-n", ns, "-j", "rule")
	read(&s.Neigh, "ip", "-n", ns, "-j", "neigh")
	read(&s.NeighProxy, "ip", "-n", ns, "-j", "neigh", "show", "proxy")
	read(&s.BridgeLink, "bridge", "-n", ns, "-d", "-j", "link")
	read(&s.FDB, "bridge", "-n", ns, "-j", "fdb")
	out, err := exec.Command("ip", "netns", "exec", ns, "nft", "list", "ruleset").Output()
	if err != nil {
		t.Fatal(err)
	}
	s.NFT = strings.Split(string(out), "\n")
	return s
}

var (
	vethName = regexp.MustCompile(`veth[0-9a-f]{8}`)
	caliName = regexp.MustCompile(`cali[0-9a-z]{11}`)
	hybrName = regexp.MustCompile(`hybr[0-9a-f]{11}`)
)

// ignored are attributes that tell one run from the next, not one mode from another.
var ignored = map[string]bool{
	"ifindex": true, "link_index": true, "link_netnsid": true, "address": true, "num_tx_queues": true, "num_rx_queues": true,
	"bridge_id": true, "root_id": true, "gc_timer": true, "hello_timer": true, "tcn_timer": true, "topology_change_timer": true, "forward_delay_timer": true, "message_age_timer": true, "hold_timer": true,
	"lladdr": true, "mac": true, "link": false, "ifalias": true, "valid_life_time": true, "preferred_life_time": true, "broadcast": false,
	"stable-privacy": true, "nodad": true,
}

// canonical lists what matters of a namespace, a line a thing, sorted.
func canonical(t *testing.T, s *state) []string {
	t.Helper()
	var lines []string
	add := func(kind string, m map[string]any) {
		lines = append(lines, rename(kind+" "+flat(m)))
	}
	for _, l := range s.Link {
		info, _ := l["linkinfo"].(map[string]any)
		kind, _ := info["info_kind"].(string)
		if l["ifname"] == "lo" || (plan.Link{Name: fmt.Sprint(l["ifname"]), Device: plan.Other(kind)}).Permanent() && l["operstate"] == "DOWN" {
			continue
		}
		if kind == "ipvlan" {
			delete(l, "operstate") // unknown until the device below tells of its own
		}
		if q := l["qdisc"]; q == "pfifo_fast" || q == "fq_codel" {
			l["qdisc"] = "default" // what a kernel gives a device by itself: Debian's is not everyone's
		}
		if mac, _ := l["address"].(string); mac == "ee:ee:ee:ee:ee:ee" || strings.HasPrefix(mac, "66:") {
			l["mac address"] = mac // these two are promised
		}
		add("link", l)
	}
	for _, l := range s.Addr {
		infos, _ := l["addr_info"].([]any)
		for _, i := range infos {
			a := i.(map[string]any)
			if local := fmt.Sprint(a["local"]); l["ifname"] != "lo" && !strings.HasPrefix(local, "fe80:") {
				delete(a, "label")
				a["dev"] = l["ifname"]
				add("addr", a)
			}
		}
	}
	for _, r := range append(s.Route4, s.Route6...) {
		dst := fmt.Sprint(r["dst"])
		if r["table"] == "local" || strings.HasPrefix(dst, "fe80:") || strings.HasPrefix(dst, "ff00:") || r["protocol"] == "kernel" && strings.Contains(dst, ":") {
			continue
		}
		add("route", r)
	}
	for _, r := range s.Rule {
		add("rule", r)
	}
	for _, n := range s.Neigh {
		if fmt.Sprint(n["state"]) == "[PERMANENT]" {
			add("neigh", n)
		}
	}
	for _, n := range s.NeighProxy {
		add("proxy", n)
	}
	for _, f := range s.FDB {
		if f["dst"] != nil {
			add("fdb", f)
		}
	}
	for _, b := range s.BridgeLink {
		delete(b, "cost")
		delete(b, "link")
		add("port", b)
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// flat writes a JSON object as sorted key=value words.
func flat(m map[string]any) string {
	var words []string
	for k, v := range m {
		if ignored[k] && k != "mac address" {
			continue
		}
		switch v := v.(type) {
		case map[string]any:
			words = append(words, k+"={"+flat(v)+"}")
		case []any:
			var list []string
			for _, e := range v {
				if inner, ok := e.(map[string]any); ok {
					list = append(list, "{"+flat(inner)+"}")
				} else {
					list = append(list, fmt.Sprint(e))
				}
			}
			slices.Sort(list)
			words = append(words, k+"="+strings.Join(list, ","))
		default:
			words = append(words, fmt.Sprintf("%s=%v", k, v))
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

func rename(s string) string {
	return hybrName.ReplaceAllString(caliName.ReplaceAllString(vethName.ReplaceAllString(s, "veth*"), "cali*"), "hybr*")
}

func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
		t.Errorf("%s differs:\n%s", what, diff)
	}
}

func inode(info os.FileInfo) string {
	s := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}
