package modes

import (
	"io/fs"
	"maps"
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
)

const home = "three-node" // the lab whose addresses are those of the docs

// other are the labs that the comments of some packages walk through as well.
var other = map[string]string{
	"modes/vxlan/vxlan.go":   "hybridnet-vxlan",
	"modes/bgp/hybridnet.go": "hybridnet-bgp",
	"modes/vlan/vlan.go":     "hybridnet-vlan",
	"modes/macvlan/":         "bifrost-macvlan bifrost-services",
	"docs/services.md":       "services bifrost-services",
	"docs/pods.md":           "services docker-networks",
}

var (
	written = regexp.MustCompile(`\b(?:\d{1,3}\.){3}\d{1,3}\b(?:/\d+)?`)
	hop     = regexp.MustCompile(`(?:\d{1,3}\.){3}\d{1,3}/\d+ via (?:\d{1,3}\.){3}\d{1,3}`)
	fixed   = regexp.MustCompile(`^(127|169\.254|224|0)\.`) // the same everywhere
)

// ground is what a lab has: every address and network, and every line of its plans, in all modes that it can be planned in.
func ground(t *testing.T, name string) (has map[string]bool, lines string) {
	t.Helper()
	text, ok := labs.Read(name)
	if !ok {
		t.Fatalf("no lab %s", name)
	}
	l, _, diags := lab.Load(name+".hcl", text, lab.Inputs{Vars: small[name]})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	has = map[string]bool{}
	for _, s := range l.Segments() {
		for _, p := range s.Subnets() {
			has[p.String()] = true
		}
	}
	for _, n := range append(l.Bridges, l.Network) {
		for _, p := range n.CIDRs {
			has[p.String()] = true
		}
	}
	names := All.Names()
	for _, b := range l.Modes {
		names = append(names, b.Name)
	}
	for _, mode := range names {
		p, _ := plan.Build(l, plan.Options{Mode: mode, Modes: All, Features: plan.AllFeatures()})
		if p == nil {
			continue
		}
		for _, n := range p.Cluster.Nodes {
			for _, block := range n.PodCIDRs() {
				has[block.String()] = true
			}
		}
		lines += planned(l, mode, plan.AllFeatures())
	}
	if l.Services != nil {
		for _, l.Services.Proxy = range lab.Proxies {
			lines += planned(l, "", plan.AllFeatures())
		}
	}
	for _, a := range written.FindAllString(lines, -1) {
		has[a] = true
		address, _, _ := strings.Cut(a, "/")
		has[address] = true
	}
	return has, lines
}

// comments returns what a Go file says to people.
func comments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if _, comment, ok := strings.Cut(line, "//"); ok {
			b.WriteString(comment)
		}
	}
	return b.String()
}

// TestDocsSpeakOfTheLab: an address that README, docs and package comments write is one that a reader finds in the lab, and
// what they say is behind a next hop is behind it there.
func TestDocsSpeakOfTheLab(t *testing.T) {
	root := os.DirFS("..")
	texts := map[string]string{}
	for _, pattern := range []string{"README.md", "docs/*.md", "modes/*/*.go", "modes/internal/*/*.go", "testbed/*.go", "testbed/*/*.go", "testbed/agent/*/*.go", "cmd/lab/*.go"} {
		files, err := fs.Glob(root, pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			text, err := fs.ReadFile(root, f)
			switch {
			case err != nil:
				t.Fatal(err)
			case strings.HasSuffix(f, "_test.go"), f == "docs/language.md", f == "docs/walks.md": // these have labs of their own, and tests
			case strings.HasSuffix(f, ".go"):
				texts[f] = comments(string(text))
			default:
				texts[f] = string(text)
			}
		}
	}
	has, lines := ground(t, home)
	seen := 0
	for _, f := range slices.Sorted(maps.Keys(texts)) {
		here, plans := maps.Clone(has), lines
		for path, names := range other {
			for name := range strings.FieldsSeq(names) {
				if !strings.HasPrefix(f, path) {
					continue
				}
				more, also := ground(t, name)
				maps.Copy(here, more)
				plans += also
			}
		}
		for _, a := range written.FindAllString(texts[f], -1) {
			if seen++; !here[a] && !fixed.MatchString(a) {
				t.Errorf("%s speaks of %s, which is not in the lab %s", f, a, home)
			}
		}
		for _, h := range hop.FindAllString(texts[f], -1) {
			if !strings.Contains(plans, h) {
				t.Errorf("%s has a route %s, and no mode of the lab %s has", f, h, home)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d addresses were found", seen)
	}
}

// TestDrawingsAreTrue: an address in the comment at the top of a lab's file is one of the lab.
func TestDrawingsAreTrue(t *testing.T) {
	for _, name := range labs.Names() {
		text, _ := labs.Read(name)
		drawing, _, _ := strings.Cut(string(text), "\nlab ")
		has, _ := ground(t, name)
		for _, a := range written.FindAllString(drawing, -1) {
			if !has[a] {
				t.Errorf("%s.hcl draws %s, which is not in it", name, a)
			}
		}
	}
}

// TestReferenceBeginsWithTheLab: the first example of the language's reference is the lab, as far as it goes.
func TestReferenceBeginsWithTheLab(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "language.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```hcl\n")
	example, _, _ := strings.Cut(rest, "```")
	text, _ := labs.Read(home)
	said := func(src string) (lines []string) {
		l, _, diags := lab.Load("lab.hcl", []byte(src), lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		for _, m := range l.Machines {
			line := m.Name
			for _, a := range m.Interfaces[0].Addresses {
				line += " " + a.String()
			}
			for _, c := range m.PodCIDRs {
				line += " " + c.String()
			}
			for _, p := range m.Pods {
				line += " " + p.Name
				for _, a := range p.Addresses {
					line += " " + a.String()
				}
			}
			lines = append(lines, line)
		}
		return lines
	}
	if diff := cmp.Diff(said(string(text)), said(example)); diff != "" {
		t.Error(diff)
	}
}
