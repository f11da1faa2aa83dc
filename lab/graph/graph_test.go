package graph

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
	"labnet/modes"
)

var update = flag.Bool("update", false, "write the golden files anew")

// planned plans a definition; it fails where that cannot be.
func planned(t *testing.T, name, text, mode string, vars map[string]string) *plan.Plan {
	t.Helper()
	l, _, diags := lab.Load(name, []byte(text), lab.Inputs{Vars: vars})
	if diags.HasErrors() {
		t.Fatalf("%v in\n%s", diags, text)
	}
	p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: modes.All, Features: plan.AllFeatures()})
	if diags.HasErrors() {
		t.Fatalf("%v in\n%s", diags, text)
	}
	return p
}

func shipped(t *testing.T, name, mode string, vars map[string]string) *plan.Plan {
	t.Helper()
	text, ok := labs.Read(name)
	if !ok {
		t.Fatalf("no lab %s", name)
	}
	return planned(t, name, string(text), mode, vars)
}

// damaged is a plan's state as it would be found after some harm.
func damaged(p *plan.Plan, harm func(plan.Object) (plan.Object, bool)) *plan.State {
	found := &plan.State{}
	gone := map[string]bool{}
	var left []plan.Object
	p.State.Each(func(o plan.Object) {
		o, stays := harm(o)
		if stays {
			left = append(left, o)
		} else if o.Key().Kind == plan.KindNamespace {
			gone[o.Key().Namespace] = true
		}
	})
	for _, o := range left {
		if !gone[o.Key().Namespace] {
			found.Add(o)
		}
	}
	return found
}

// broken is a three-node lab with a link down, an MTU that has changed, and a pod and a tunnel that are missing.
func broken(t *testing.T) *Picture {
	p := shipped(t, "three-node", "vxlan", nil)
	found := damaged(p, func(o plan.Object) (plan.Object, bool) {
		switch o := o.(type) {
		case plan.Namespace:
			return o, o.Name != "three-node.worker2.p2"
		case plan.Link:
			switch {
			case o.Namespace == "three-node.lan" && o.Name == "worker1":
				o.Down = true
			case o.Namespace == "three-node.worker2" && o.Name == "eth0":
				o.MTU = 1400
			case o.Peer().Namespace == "three-node.worker2.p2":
				return o, false
			}
			return o, true
		case plan.FDB:
			return o, o.Namespace != "three-node.master" || o.Dst.String() != "192.168.205.5"
		}
		return o, true
	})
	found.Add(plan.NewAddress("three-node.master", "cni0", p.Cluster.Nodes[1].Pods[0].NICs[0].Addresses[0]))
	return Found("three-node", "vxlan", p, found)
}

func TestGolden(t *testing.T) {
	pictures := map[string]*Picture{
		"three-node.vxlan":     Planned(shipped(t, "three-node", "vxlan", nil)),
		"office.ipip":          Planned(shipped(t, "office", "ipip", nil)),
		"calico-bgp-rr.bgp":    Planned(shipped(t, "calico-bgp-rr", "", nil)),
		"bifrost-macvlan":      Planned(shipped(t, "bifrost-macvlan", "", nil)),
		"flannel-vxlan.direct": Planned(shipped(t, "flannel-vxlan", "vxlan-direct", nil)),
		"scale":                Planned(shipped(t, "scale", "vxlan", map[string]string{"nodes": "7", "pods": "9"})),
		"broken":               broken(t),
	}
	for name, p := range pictures {
		for suffix, got := range map[string]string{".svg": string(p.SVG()), ".mmd": p.Mermaid()} {
			t.Run(name+suffix, func(t *testing.T) {
				file := filepath.Join("testdata", name+suffix)
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("%s (go test ./lab/graph -update writes it anew):\n%s", file, diff)
				}
			})
		}
	}
}

// TestBroken: what is wrong is marked where it is, and nothing else is.
func TestBroken(t *testing.T) {
	p := broken(t)
	var got []string
	note := func(what string, m Mark) {
		if m != Fine {
			got = append(got, what+" "+string(m))
		}
	}
	for _, m := range p.Machines {
		note(m.Name, m.Mark)
		for _, d := range m.Devices {
			note(m.Name+" "+d.Name, d.Mark)
			note(m.Name+" link "+d.Name, d.Link)
			for _, a := range d.Addresses {
				note(m.Name+" "+d.Name+" "+a.Text, a.Mark)
			}
		}
		for _, pod := range m.Pods {
			note(m.Name+"/"+pod.Name, pod.worst())
		}
	}
	for _, n := range p.Overlays {
		for _, pair := range n.Pairs {
			note(pair.A+"–"+pair.B, pair.Mark)
		}
	}
	want := []string{
		"master flannel.1 changed", "master cni0 changed", "master cni0 10.42.1.9/24 foreign", "worker1 link eth0 down", "worker2 eth0 changed", "worker2 link eth0 changed",
		"worker2/p2 missing", "master–worker2 missing",
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	sound(t, p)
	svg := string(p.SVG())
	for _, said := range []string{">link down<", ">mtu 1400 ≠<", ">missing: master–worker2<", "as it runs; not all is as it is defined", "ip -n three-node.lan link set dev worker1 up"} {
		if !strings.Contains(svg, said) {
			t.Errorf("%q is not in the picture", said)
		}
	}
	if whole := Found("three-node", "vxlan", shipped(t, "three-node", "vxlan", nil), shipped(t, "three-node", "vxlan", nil).State); len(whole.Drift) > 0 || !strings.Contains(string(whole.SVG()), "as it runs, and as it is defined") {
		t.Errorf("a lab without drift: %v", whole.Drift)
	}
}

// TestEveryLab: of every shipped lab in every mode the picture is sound, and has everything.
func TestEveryLab(t *testing.T) {
	drawn := 0
	for _, name := range labs.Names() {
		text, _ := labs.Read(name)
		l, _, _ := lab.Load(name, text, lab.Inputs{Vars: map[string]map[string]string{"scale": {"nodes": "20", "pods": "10"}}[name]})
		names := modes.All.Names()
		for _, b := range l.Modes {
			names = append(names, b.Name)
		}
		for _, mode := range names {
			p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: modes.All, Features: plan.AllFeatures()})
			if diags.HasErrors() {
				continue // the mode cannot be had in this lab
			}
			drawn++
			t.Run(name+"/"+mode, func(t *testing.T) {
				picture := Planned(p)
				sound(t, picture)
				complete(t, p, picture)
			})
		}
	}
	if drawn < 60 {
		t.Errorf("only %d pictures", drawn)
	}
}

func TestSizes(t *testing.T) {
	for _, mode := range []string{"host-gw", "vxlan", "bgp"} {
		for _, nodes := range []int{1, 2, 3, 5, 8, 13, 30} {
			for _, pods := range []int{0, 1, 6, 7, 10} {
				p := shipped(t, "scale", mode, map[string]string{"nodes": fmt.Sprint(nodes), "pods": fmt.Sprint(pods)})
				picture := Planned(p)
				s := sound(t, picture)
				complete(t, p, picture)
				if s.width > 2*pageWide || nodes > 1 && nodes < 9 && s.width > pageWide+100 {
					t.Errorf("%d nodes with %d pods: %d wide", nodes, pods, s.width)
				}
			}
		}
	}
}

// TestGenerated: labs of any shape, whole and damaged, with every layer and without.
func TestGenerated(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 7))
		text := generate(rng)
		p := planned(t, fmt.Sprintf("generated %d", seed), text, "", nil)
		picture := Planned(p)
		sound(t, picture)
		complete(t, p, picture)
		harm := rng.Float64() / 3
		found := damaged(p, func(o plan.Object) (plan.Object, bool) {
			if l, ok := o.(plan.Link); ok && rng.Float64() < harm {
				l.Down = true
				o = l
			}
			return o, rng.Float64() > harm/4
		})
		for _, of := range []*plan.Plan{p, nil} {
			picture := Found("generated", "", of, found)
			picture.Note = map[bool]string{true: "the definition is lost"}[of == nil]
			sound(t, picture)
			picture.Only(Layers[rng.IntN(2):][:1+rng.IntN(3)])
			sound(t, picture)
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, text)
		}
	}
}

// generate writes a definition: some switches, routers between them, nodes and hosts on one or several.
func generate(rng *rand.Rand) string {
	var b strings.Builder
	name := func(kind string, i int) string {
		if rng.IntN(6) == 0 {
			kind += strings.Repeat("-long", rng.IntN(9))
		}
		return fmt.Sprintf("%s-%d", kind, i)
	}
	b.WriteString("lab \"generated\" {}\n")
	var switches []string
	six := rng.IntN(3) == 0
	for i := range 1 + rng.IntN(5)*rng.IntN(2) {
		s := name("switch", i)
		switches = append(switches, s)
		subnet := fmt.Sprintf("%q", fmt.Sprintf("10.%d.0.0/16", i+1))
		if six {
			subnet = fmt.Sprintf("[%s, \"fd00:%d::/64\"]", subnet, i+1)
		}
		fmt.Fprintf(&b, "switch %q {\n  subnet = %s\n", s, subnet)
		if rng.IntN(4) == 0 {
			b.WriteString("  rate = \"100mbit\"\n")
		}
		b.WriteString("}\n")
	}
	on := func(kind, name string, most int, more string) {
		fmt.Fprintf(&b, "%s %q {\n%s", kind, name, more)
		for _, i := range rng.Perm(len(switches))[:min(len(switches), 1+rng.IntN(most))] {
			fmt.Fprintf(&b, "  on %q {}\n", switches[i])
		}
		b.WriteString("}\n")
	}
	for i := range rng.IntN(1 + 2*len(switches)) {
		on("router", name("r", i), 5, "")
	}
	for i := range 1 + rng.IntN(12) {
		on("node", name("n", i), 1+rng.IntN(2), fmt.Sprintf("  pods = %d\n", rng.IntN(9)))
	}
	for i := range rng.IntN(4) {
		on("host", name("h", i), 2, "")
	}
	mode := []string{"vxlan", "ipip", "udp"}[rng.IntN(3)]
	cidr := `"10.128.0.0/10"`
	if six && mode == "vxlan" {
		cidr = `["10.128.0.0/10", "fd01::/48"]`
	}
	fmt.Fprintf(&b, "network \"pods\" {\n  cidr = %s\n  mode = %q\n}\n", cidr, mode)
	return b.String()
}

// complete checks that all of a plan is in its picture.
func complete(t *testing.T, p *plan.Plan, picture *Picture) {
	t.Helper()
	svg, mermaid := string(picture.SVG()), picture.Mermaid()
	in := func(what string) {
		if !strings.Contains(svg, what) {
			t.Errorf("%s: %q is not in the picture", p.Cluster.Name, what)
		}
	}
	for _, s := range p.Cluster.Lab.Switches {
		in("<title>switch " + s.Name)
		if !strings.Contains(mermaid, id("switch", s.Name)+"[[") {
			t.Errorf("Mermaid has no switch %s", s.Name)
		}
	}
	for _, m := range p.Cluster.Lab.Machines {
		in("<title>" + string(m.Kind))
		if !regexp.MustCompile(`(?m)^  ` + id(m.Name) + `[\[{]`).MatchString(mermaid) {
			t.Errorf("Mermaid has no machine %s", m.Name)
		}
		for _, nic := range m.Interfaces {
			in("<title>" + m.Name + " " + nic.Name + " (veth)")
			for _, a := range nic.Addresses {
				in(">" + a.String() + "<")
			}
			if !strings.Contains(mermaid, "  "+id("switch", nic.Switch.Name)+" ---|") {
				t.Errorf("Mermaid has no link of %s", nic.Switch.Name)
			}
		}
	}
	for _, n := range p.Cluster.Nodes {
		for _, pod := range n.Pods {
			in("pod " + pod.Name)
			for _, nic := range pod.NICs {
				for _, a := range nic.Addresses {
					in(a.String())
				}
			}
		}
	}
}

// sound checks a picture as a person would look at it.
func sound(t *testing.T, p *Picture) scene {
	t.Helper()
	s := p.scene(true)
	fault := func(format string, args ...any) { t.Helper(); t.Errorf(p.Title()+": "+format, args...) }
	inside := func(what string, x, y, right, bottom, width, height int) {
		t.Helper()
		if x < 0 || y < 0 || right > width || bottom > height {
			fault("%s is at %d,%d to %d,%d of %d × %d", what, x, y, right, bottom, width, height)
		}
	}
	for i, b := range s.boxes {
		inside(b.title, b.x, b.y, b.x+b.width, b.y+b.height, s.width, s.height)
		for _, other := range s.boxes[i+1:] {
			if b.overlaps(other) {
				fault("%q and %q overlap", b.title, other.title)
			}
		}
		fits(b, fault)
		for j, in := range b.inner {
			inside(in.title, in.x, in.y, in.x+in.width, in.y+in.height, b.width, b.height)
			fits(in, fault)
			for _, other := range b.inner[j+1:] {
				if in.overlaps(other) {
					fault("%q and %q overlap", in.title, other.title)
				}
			}
			for _, r := range b.rows {
				if r.y > in.y && r.y-monoSize < in.y+in.height {
					fault("%q is written over by %q", in.title, r.labels[0].text)
				}
			}
		}
	}
	for _, l := range s.labels {
		inside(l.text, l.x, l.y-titleSize, l.x+l.width(), l.y+4, s.width, s.height)
	}
	for i, w := range s.wires {
		for k := 1; k < len(w.points); k++ {
			a, b := ordered(w.points[k-1], w.points[k])
			inside(w.title, a.x, a.y, b.x, b.y, s.width, s.height)
			if a.x != b.x && a.y != b.y {
				fault("%q is neither across nor down", w.title)
			}
			for _, box := range s.boxes {
				if b.x > box.x && a.x < box.x+box.width && b.y > box.y && a.y < box.y+box.height {
					fault("%q runs through %q: %v %v", w.title, box.title, a, b)
				}
			}
			for _, other := range s.wires[i+1:] {
				if hueOf(w) != hueOf(other) && along(w, other) {
					fault("%q %v and %q %v lie on one another", w.title, w.points, other.title, other.points)
				}
			}
		}
	}
	reaches(s, fault)
	var wires, joins int
	for _, m := range p.Machines {
		for _, d := range m.Devices {
			if slices.ContainsFunc(p.Switches, func(s Switch) bool { return s.Name == d.Switch }) {
				wires++
			}
		}
	}
	for _, n := range slices.Concat(p.Overlays, p.Sessions) {
		joins += len(n.Members)
	}
	for _, w := range s.wires {
		switch {
		case !strings.Contains(w.title, ", on switch") && !strings.Contains(w.title, ", in "):
		case strings.Contains(w.class, "over"):
			joins--
		default:
			wires--
		}
	}
	if wires != 0 || joins != 0 {
		fault("%d links and %d ends of overlays are not drawn", wires, joins)
	}
	valid(t, p.SVG())
	if text := p.Mermaid(); strings.Count(text, `"`)%2 != 0 || strings.Contains(text, "\n\n") {
		fault("Mermaid:\n%s", text)
	}
	return s
}

func (b box) overlaps(other box) bool {
	return b.x < other.x+other.width && other.x < b.x+b.width && b.y < other.y+other.height && other.y < b.y+b.height
}

// fits checks that the texts of a box are in it, and beside one another.
func fits(b box, fault func(string, ...any)) {
	for i, r := range b.rows {
		if r.y-monoSize < 0 || r.y+2 > b.height {
			fault("a row of %q is at %d of %d", b.title, r.y, b.height)
		}
		if i > 0 && r.y-b.rows[i-1].y < monoSize+2 {
			fault("rows of %q are %d apart", b.title, r.y-b.rows[i-1].y)
		}
		end := 0
		for _, l := range r.labels {
			if l.text == "" {
				continue
			}
			from, to := l.x, l.x+l.width()
			if l.end {
				from, to = l.x-l.width(), l.x
			}
			if from < end || to > b.width {
				fault("%q of %q is from %d to %d; there is room from %d to %d", l.text, b.title, from, to, end, b.width)
			}
			end = to + 3
		}
	}
}

func ordered(a, b point) (point, point) {
	return point{min(a.x, b.x), min(a.y, b.y)}, point{max(a.x, b.x), max(a.y, b.y)}
}

var hues = regexp.MustCompile(`\b(n\d|o\d|bgp)\b`)

// hueOf is which net a line is of; one that is cut has no colour, and is any.
func hueOf(w wire) string { return hues.FindString(w.class) }

// along reports whether two lines share more than a point.
func along(v, w wire) bool {
	a, b := ordered(v.points[0], v.points[1])
	c, d := ordered(w.points[0], w.points[1])
	switch {
	case hueOf(v) == "" || hueOf(w) == "":
		return false
	case a.x == b.x && c.x == d.x && a.x == c.x:
		return min(b.y, d.y) > max(a.y, c.y)
	case a.y == b.y && c.y == d.y && a.y == c.y:
		return min(b.x, d.x) > max(a.x, c.x)
	}
	return false
}

// reaches checks that the line of every link leads to its switch, and that of every end of an overlay to what names it.
func reaches(s scene, fault func(string, ...any)) {
	touch := func(v, w wire) bool {
		a, b := ordered(v.points[0], v.points[1])
		c, d := ordered(w.points[0], w.points[1])
		return a.x <= d.x && c.x <= b.x && a.y <= d.y && c.y <= b.y
	}
	for _, box := range s.boxes {
		if !strings.HasPrefix(box.class, "switch") && !strings.HasPrefix(box.class, "net") {
			continue
		}
		hue := hues.FindString(box.class)
		name := strings.FieldsFunc(box.title, func(r rune) bool { return r == ',' || r == '\n' })[0]
		if words := strings.Fields(name); words[0] == "switch" {
			name = strings.Join(words[:2], " ")
		}
		of := func(w wire) bool {
			if strings.HasPrefix(box.class, "switch") {
				return hueOf(w) == hue && (w.title == name || strings.Contains(w.title+",", ", on "+name+",") || strings.Contains(w.title, ", on "+name+" ")) ||
					hueOf(w) == "" && (strings.Contains(w.title, "on "+name+",") || strings.Contains(w.title, "on "+name+" "))
			}
			return strings.Contains(w.class, "over") && (hueOf(w) == hue || hueOf(w) == "" && strings.Contains(w.title, ", in "+name))
		}
		var mine []wire
		for _, w := range s.wires {
			if of(w) {
				mine = append(mine, w)
			}
		}
		edge := wire{points: []point{{box.x, box.y}, {box.x + box.width, box.y + box.height}}}
		joined, next := make([]bool, len(mine)), []wire{edge}
		for len(next) > 0 {
			at := next[0]
			next = next[1:]
			for i, w := range mine {
				if !joined[i] && touch(w, at) {
					joined[i] = true
					next = append(next, w)
				}
			}
		}
		for i, w := range mine {
			if !joined[i] {
				fault("%q %v does not lead to %q", w.title, w.points, box.title)
			}
		}
	}
}

// valid checks that it is XML whose every class has a style.
func valid(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	depth := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			depth++
			for _, a := range token.Attr {
				if a.Name.Local == "id" || strings.Contains(a.Value, "http") && a.Name.Local != "xmlns" {
					t.Errorf("%s has %s=%q", token.Name.Local, a.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
			depth--
		}
	}
	if depth != 0 {
		t.Errorf("%d elements are open", depth)
	}
}
