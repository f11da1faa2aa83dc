package report

import (
	"bytes"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"labnet/lab/internal/browser"
)

// The picture in the documentation is made from a recording by
//
//	go test ./lab/report -run TestPage -recording DIR -pictures DIR
var (
	recording = flag.String("recording", "", "look at the page of the comparison recorded in this `folder`, rather than of an imagined one")
	pictures  = flag.String("pictures", "", "write pictures of the page into this `folder`: report.png is how it begins, the others are all of it")
)

// sheet is how wide a landscape sheet of A4 is within its margins.
const sheet = 1032

// A person looks at the page on a large screen and on a small one, in light and dark, on paper, by keyboard and by ear.
func TestPage(t *testing.T) {
	r := swept(withCost(full(), 14))
	if *recording != "" {
		var err error
		if r, err = Read(*recording); err != nil {
			t.Fatal(err)
		}
	}
	var page bytes.Buffer
	if err := r.Write(&page, "html", 0, false); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	address := (&url.URL{Scheme: "file", Path: file}).String()
	b := browser.Open(t, address)
	keep := func(name string, height int) {
		if *pictures != "" {
			if err := os.WriteFile(filepath.Join(*pictures, name), b.Picture(height), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, width := range []int{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			b.Show(width, scheme, "screen")
			if width == 1280 && scheme == "light" {
				keep("report.png", 1400)
			}
			keep(fmt.Sprintf("report-%d-%s.png", width, scheme), 0)
		}
	}
	b.Show(sheet, "light", "print")
	keep("report-print.png", 0)

	t.Run("asks for nothing and complains of nothing", func(t *testing.T) {
		if !slices.Equal(b.Asked, []string{address}) || len(b.Faults) > 0 {
			t.Errorf("loaded %v; complaints: %v", b.Asked, b.Faults)
		}
	})
	t.Run("by keyboard", func(t *testing.T) {
		b.Show(1280, "light", "screen")
		tab := func() (focused string) {
			for _, kind := range []string{"rawKeyDown", "keyUp"} {
				b.Call("Input.dispatchKeyEvent", browser.Arguments{"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}, nil)
			}
			b.Eval(`document.activeElement.getAttribute("href") ?? document.activeElement.tagName`, &focused)
			return focused
		}
		if first := tab(); first != "#verdict" {
			t.Errorf("the first that is reached is %s, not the link over the navigation to the verdict", first)
		}
		var unreached []string
		b.Eval(`[...document.querySelectorAll("*")].filter(e => e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(e).overflowX) &&
			(e.tabIndex < 0 || !e.getAttribute("aria-label"))).map(e => e.outerHTML.slice(0, 120))`, &unreached)
		if len(unreached) > 0 {
			t.Errorf("can be moved, but not by keyboard, or without a name: %v", unreached)
		}
	})
	t.Run("by ear", func(t *testing.T) {
		var tree struct {
			Nodes []struct {
				Ignored                 bool
				Role, Name, Description struct{ Value any }
			}
		}
		b.Call("Accessibility.getFullAXTree", nil, &tree)
		roles := map[string]int{}
		for _, n := range tree.Nodes {
			role := fmt.Sprint(n.Role.Value)
			if n.Ignored {
				continue
			}
			roles[role]++
			name, description := fmt.Sprint(n.Name.Value), fmt.Sprint(n.Description.Value)
			if role == "image" && (name == "" || description == "") || role == "table" && name == "" {
				t.Errorf("the %s %q is described by %q", role, name, description)
			}
		}
		for _, role := range []string{"banner", "navigation", "main", "contentinfo", "image", "table"} {
			if roles[role] == 0 {
				t.Errorf("there is no %s among %v", role, roles)
			}
		}
		var levels []int
		b.Eval(`[...document.querySelectorAll("h1,h2,h3,h4")].map(e => +e.tagName[1])`, &levels)
		for i, level := range levels {
			if i == 0 && level != 1 || i > 0 && (level == 1 || level > levels[i-1]+1) {
				t.Errorf("the levels of headings jump: %v", levels)
				break
			}
		}
	})
	b.Eval(`document.querySelectorAll("details").forEach(e => e.open = true)`, nil)
	for _, width := range []int{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("%s, %d wide", scheme, width), func(t *testing.T) {
				b.Show(width, scheme, "screen")
				var wide int
				if b.Eval(`document.documentElement.scrollWidth`, &wide); wide > width {
					t.Errorf("the page is %d wide", wide)
				}
				var faint []string
				if b.Eval(faintText, &faint); len(faint) > 0 {
					t.Errorf("hard to read:\n%s", strings.Join(faint, "\n"))
				}
			})
		}
	}
	looks := [][2]string{{"light", "screen"}, {"dark", "screen"}, {"light", "print"}}
	for i, width := range []int{400, 800, 1280} {
		for j, look := range looks {
			if i != j && os.Getenv("LAB_SOAK") == "" { // each takes ten seconds
				continue
			}
			t.Run(fmt.Sprintf("as axe-core sees it, %d wide, %s, %s", width, look[0], look[1]), func(t *testing.T) {
				b.Show(width, look[0], look[1])
				if found := b.Axe(); len(found) > 0 {
					t.Errorf("violations:\n%s", strings.Join(found, "\n"))
				}
			})
		}
	}
	t.Run("on paper", func(t *testing.T) {
		b.Eval(`document.querySelectorAll("details").forEach(e => e.open = false)`, nil)
		b.Show(sheet, "dark", "print")
		var hidden, faint []string
		b.Eval(`[...document.querySelectorAll("table, svg")].filter(e => !e.checkVisibility({contentVisibilityAuto: true}) || e.getBoundingClientRect().height == 0).map(e => e.outerHTML.slice(0, 120))`, &hidden)
		if len(hidden) > 0 {
			t.Errorf("not shown: %v", hidden)
		}
		if b.Eval(faintText, &faint); len(faint) > 0 {
			t.Errorf("hard to read:\n%s", strings.Join(faint, "\n"))
		}
		var ground string
		if b.Eval(`getComputedStyle(document.body).backgroundColor`, &ground); ground != "rgb(255, 255, 255)" {
			t.Errorf("paper is %s", ground)
		}
		var wide []string
		b.Eval(`[...document.querySelectorAll("table, svg, pre")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 160))`, &wide)
		if len(wide) > 0 {
			t.Errorf("wider than a sheet: %v", wide)
		}
	})
}

// faintText lists the texts whose contrast to their ground is less than 4.5 to 1.
const faintText = `(() => {
	const parse = color => color.match(/[\d.]+/g).map(Number);
	const luminance = color => {
		const [r, g, b] = parse(color).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const ground = e => {
		for (; e; e = e.parentElement) {
			const color = getComputedStyle(e).backgroundColor, alpha = parse(color)[3];
			if (alpha === undefined || alpha > 0) return color;
		}
		return "rgb(255, 255, 255)";
	};
	const faint = new Set();
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const e = walker.currentNode.parentElement;
		if (!walker.currentNode.data.trim() || e.closest("title, desc, style")) continue;
		const style = getComputedStyle(e), svg = e.closest("svg");
		const [a, b] = [luminance(svg ? style.fill : style.color), luminance(ground(e))].sort((a, b) => b - a);
		if ((a + 0.05) / (b + 0.05) < 4.5) faint.add(((a + 0.05) / (b + 0.05)).toFixed(2) + " " + e.outerHTML.slice(0, 100));
	}
	return [...faint];
})()`
