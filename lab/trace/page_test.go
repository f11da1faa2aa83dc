package trace

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/lab/internal/browser"
	"labnet/lab/packet"
)

func stack(protocols ...string) []packet.Header {
	sizes := map[string]int{"ethernet": 14, "ipv4": 20, "udp": 8, "vxlan": 8, "icmp": 8}
	var all []packet.Header
	for i, p := range protocols {
		all = append(all, packet.Header{Protocol: p, Source: fmt.Sprintf("%s-source-%d", p, i), Destination: p, Bytes: sizes[p]})
	}
	return all
}

// overlay is a walk from a pod to a pod of another node by VXLAN, as far as n devices.
func overlay(n int) Walk {
	inner, outer := stack("ethernet", "ipv4", "icmp"), stack("ethernet", "ipv4", "udp", "vxlan", "ethernet", "ipv4", "icmp")
	w := Walk{Disposition: Arrived}
	for i, h := range []struct {
		machine, device string
		way             Direction
		headers         []packet.Header
		decision        string
	}{
		{"a/p", "eth0", Out, inner, "route default via 10.42.0.1 dev eth0"}, {"a", "veth0", In, inner, ""},
		{"a", "cni0", In, inner, "route 10.42.1.0/24 via 10.42.1.0 dev flannel.1 onlink"}, {"a", "flannel.1", Out, inner, "fdb 0a:19:e2:b8:a1:1c dst 192.168.205.3"},
		{"a", "eth0", Out, outer, "route 192.168.205.0/24 dev eth0"}, {"lan", "a", In, outer, ""}, {"lan", "b", Out, outer, ""}, {"b", "eth0", In, outer, "vxlan 7"},
		{"b", "flannel.1", In, inner, "route 10.42.1.0/24 dev cni0"}, {"b", "cni0", Out, inner, ""}, {"b", "veth0", Out, inner, ""}, {"b/p", "eth0", In, inner, "route local"},
	} {
		if i == n {
			break
		}
		hop := Hop{Machine: h.machine, Namespace: "lab." + strings.ReplaceAll(h.machine, "/", "."), Device: h.device, Direction: h.way, Headers: h.headers, Time: time.Duration(i*7) * time.Microsecond}
		if h.decision != "" {
			hop.Decision, hop.Command = &Decision{Text: h.decision}, "ip -n "+hop.Namespace+" route get 10.42.1.9"
		}
		w.Hops = append(w.Hops, hop)
	}
	return w
}

// answered is a trace that went well; lost is one whose packet ended at the receiver's node, where that was not predicted.
func answered() *Trace {
	back := overlay(12)
	slices.Reverse(back.Hops)
	for i := range back.Hops {
		h := &back.Hops[i]
		h.Direction, h.Time = map[Direction]Direction{In: Out, Out: In}[h.Direction], time.Duration(i)*time.Microsecond
	}
	t := &Trace{From: "a/p", To: "b/p", Address: "10.42.1.9", Protocol: "icmp", Size: 60, There: overlay(12), Back: &back, Answered: true}
	t.Beside(Prediction{There: overlay(12), Back: &back})
	return t
}

func lost() *Trace {
	there := overlay(8)
	there.Disposition = Lost
	there.Drop = &Drop{Machine: "b", Device: "eth0", Reason: "VXLAN_VNI_NOT_FOUND", Location: "vxlan_rcv", Sentence: "b has no VXLAN device with the VNI of this packet & more", Command: "ip -n lab.b -d link show type vxlan"}
	t := &Trace{From: "a/p", To: "b/p", Address: "10.42.1.9", Protocol: "icmp", Size: 60, There: there}
	t.Beside(Prediction{There: overlay(12)})
	return t
}

// TestPage looks at the page of a trace as a person does: on screens, in the dark, on paper, with a mouse and without.
func TestPage(t *testing.T) {
	for _, tt := range []struct {
		name                          string
		trace                         *Trace
		cards, ghosts, crosses, wires int
	}{
		{"answered", answered(), 24, 0, 0, 22},
		{"lost", lost(), 8, 4, 1, 11},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text strings.Builder
			if err := tt.trace.Page(&text, []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="300" height="80"><text y="20">lab</text></svg>`)); err != nil {
				t.Fatal(err)
			}
			for _, said := range append(tt.trace.Sentences(), tt.trace.Verdict(), "ip -n lab.a route get 10.42.1.9", "vxlan-source-3") {
				if !strings.Contains(text.String(), strings.ReplaceAll(said, "&", "&amp;")) {
					t.Errorf("the page does not say %q", said)
				}
			}
			file := filepath.Join(t.TempDir(), "trace.html")
			if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			address := (&url.URL{Scheme: "file", Path: file}).String()
			b := browser.Open(t, address)
			b.Asked = slices.DeleteFunc(b.Asked, func(a string) bool { return strings.HasPrefix(a, "data:") })
			if !slices.Equal(b.Asked, []string{address}) || len(b.Faults) > 0 {
				t.Errorf("loaded %v; complaints: %v", b.Asked, b.Faults)
			}
			count := func(selector string, want int) {
				t.Helper()
				var n int
				if b.Eval(fmt.Sprintf("document.querySelectorAll(%q).length", selector), &n); n != want {
					t.Errorf("%s: %d, not %d", selector, n, want)
				}
			}
			count("a.card:not(.ghost)", tt.cards)
			count("a.card.ghost", tt.ghosts)
			count(".cross", tt.crosses)
			var drawn bool
			if b.Eval(`document.querySelector("img.lab").naturalWidth == 300`, &drawn); !drawn {
				t.Error("the lab is not drawn")
			}
			count("path.wire", tt.wires)
			for _, look := range []struct {
				width         int
				scheme, media string
			}{{800, "light", "screen"}, {1280, "dark", "screen"}, {1032, "light", "print"}} {
				b.Show(look.width, look.scheme, look.media)
				if found := b.Axe(); len(found) > 0 {
					t.Errorf("%v:\n%s", look, strings.Join(found, "\n"))
				}
				var wide int
				if b.Eval(`document.documentElement.scrollWidth`, &wide); wide > look.width {
					t.Errorf("%v: the page is %d wide", look, wide)
				}
				var outside []string
				b.Eval(`[...document.querySelectorAll("a.card, .cross")].flatMap(c => { const edge = c.querySelector("rect").getBoundingClientRect()
					return [...c.querySelectorAll("text")].filter(t => { const r = t.getBoundingClientRect(); return r.left < edge.left - 1 || r.right > edge.right + 1 }).map(t => t.textContent) })`, &outside)
				if len(outside) > 0 {
					t.Errorf("%v: does not fit into its card: %q", look, outside)
				}
				var smallest float64
				if b.Eval(`Math.min(...[...document.querySelectorAll("a.card .label")].map(t => t.getBoundingClientRect().height))`, &smallest); look.media == "screen" && smallest < 8 {
					t.Errorf("%v: text is %.1f high", look, smallest)
				}
			}
			b.Show(1280, "light", "screen")
			for _, kind := range []string{"rawKeyDown", "keyUp"} {
				for range tt.cards {
					b.Call("Input.dispatchKeyEvent", browser.Arguments{"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}, nil)
				}
			}
			var shown string
			if b.Eval(`document.getElementById("panel").hidden ? "" : document.getElementById("panel").textContent`, &shown); !strings.Contains(shown, "eth0") {
				t.Errorf("the keyboard shows %q", shown)
			}
		})
	}
}
