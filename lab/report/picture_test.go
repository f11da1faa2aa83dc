package report

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/graph"
	"labnet/lab/plan"
	"labnet/labs"
	"labnet/modes"

	"labnet/lab/internal/browser"
)

// A browser shows pictures of labs as they were laid out: each text where there is room for it, whatever face it has, and
// dark where the reader's screen is.
func TestPictureOfLab(t *testing.T) {
	dir := t.TempDir()
	for name, vars := range map[string]map[string]string{
		"three-node": {"pods": "2"}, "scale": {"nodes": "30", "pods": "10"}, "office": nil, "dual-stack": nil, "bifrost-macvlan": nil, "calico-bgp-rr": nil,
	} {
		text, _ := labs.Read(name)
		l, _, diags := lab.Load(name, text, lab.Inputs{Vars: vars})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		mode := map[string]string{"three-node": "vxlan", "scale": "vxlan"}[name]
		p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: modes.All, Features: plan.AllFeatures()})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".svg"), graph.Planned(p).SVG(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	address := func(name string) string {
		return (&url.URL{Scheme: "file", Path: filepath.Join(dir, name+".svg")}).String()
	}
	b := browser.Open(t, address("three-node"))
	for _, name := range []string{"three-node", "scale", "office", "dual-stack", "bifrost-macvlan", "calico-bgp-rr"} {
		b.Asked = nil
		b.Go(address(name))
		var grounds []string
		for _, scheme := range []string{"light", "dark"} {
			b.Show(1700, scheme, "screen")
			var outside []string
			if b.Eval(outsideTexts, &outside); len(outside) > 0 {
				t.Errorf("%s, %s: %s", name, scheme, strings.Join(outside, "\n"))
			}
			var faint []string
			if b.Eval(strings.Replace(faintText, "document.body", "document.documentElement", 1), &faint); len(faint) > 0 {
				t.Errorf("%s, %s: hard to read:\n%s", name, scheme, strings.Join(faint, "\n"))
			}
			var ground string
			b.Eval(`getComputedStyle(document.documentElement).backgroundColor`, &ground)
			grounds = append(grounds, ground)
			if *pictures != "" {
				if err := os.WriteFile(filepath.Join(*pictures, fmt.Sprintf("graph-%s-%s.png", name, scheme)), b.Picture(0), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		b.Show(1000, "dark", "print")
		var ground string
		if b.Eval(`getComputedStyle(document.documentElement).backgroundColor`, &ground); grounds[0] != ground || grounds[1] == ground {
			t.Errorf("%s: grounds are %v, and %s on paper", name, grounds, ground)
		}
		if !slices.Equal(b.Asked, []string{address(name)}) || len(b.Faults) > 0 {
			t.Errorf("%s: loaded %v; complaints: %v", name, b.Asked, b.Faults)
		}
	}
}

// outsideTexts lists the texts of a picture that are not within the box that they are of, or the picture.
const outsideTexts = `[...document.querySelectorAll("text")].filter(e => {
	const box = [...(e.closest("g:has(> .g-box)")?.children ?? [])].find(c => c.classList.contains("g-box")) ?? document.documentElement;
	const text = e.getBoundingClientRect(), room = box.getBoundingClientRect();
	return text.left < room.left || text.right > room.right + 0.5 || text.top < room.top - 0.5 || text.bottom > room.bottom + 0.5;
}).map(e => e.outerHTML)`
