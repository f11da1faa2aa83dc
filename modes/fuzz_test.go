package modes

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"labnet/lab"
	"labnet/labs"
)

// FuzzLoad holds the promise that no text makes Load, Format or planning in any mode panic, hang, or return neither what was
// asked for nor a reason.
func FuzzLoad(f *testing.F) {
	for _, name := range labs.Names() {
		text, _ := labs.Read(name)
		f.Add(text)
	}
	files, _ := filepath.Glob("../lab/testdata/*/*.hcl")
	for _, path := range files {
		if base := filepath.Base(path); base == "work.hcl" || base == "large-values.hcl" {
			continue // a second each, which TestMistakes spends on them already
		}
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`lab "x" {}
switch "s" {
  subnet = ["10.0.0.0/30", "fd00::/127"]
  mtu    = 1280
}
node "a" {
  on "s" {}
  pod_cidr = "10.9.0.0/29"
  pods     = 5
}
network "p" { cidr = ["10.9.0.0/28", "fd01::/120"] }
mode "vxlan" {
  like = "calico"
  vni  = 16777215
}`))
	f.Add([]byte(`lab "x" {}
switch "s" { subnet = "10.0.0.0/29" }
node "n" {
  count = 3
  on "s" {}
  pods = 1
}
network "p" {
  cidr = "10.9.0.0/29"
  mode = "vxlan"
}
mode "vxlan" { like = "hybridnet" }`))
	f.Add([]byte(`lab "x" {}
switch "s" { subnet = "10.0.0.0/29" }
node "n" {
  count = 2
  on "s" { name = "cni0" }
  pods = 2
  pod "p2" { address = cidrhost("10.9.0.0/24", 5 + 256 * count.index) }
}
network "p" {
  cidr = "10.9.0.0/16"
  mtu  = 1440
  mode = "ipip"
}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		defer time.AfterFunc(time.Minute, func() { panic("it hangs") }).Stop()
		l, _, _ := lab.Load("fuzz.hcl", text, lab.Inputs{Environ: []string{"LAB_VAR_pods=3"}})
		if l != nil {
			sound(t, l)
		}
		bear(t, "the text", text, nil)
		once, diags := lab.Format("fuzz.hcl", text)
		if !diags.HasErrors() {
			if _, diags := lab.Format("fuzz.hcl", once); diags.HasErrors() {
				t.Errorf("formatting broke the file: %v", diags)
			}
		}
	})
}

// sound checks what everybody who is handed a Lab relies on.
func sound(t *testing.T, l *lab.Lab) {
	t.Helper()
	names := map[string]bool{}
	addresses := map[string]bool{}
	for _, m := range l.Machines {
		if names[m.Name] || len(m.Interfaces) == 0 {
			t.Errorf("%s: a second one, or without an interface", m.Name)
		}
		names[m.Name] = true
		for _, i := range m.Interfaces {
			if len(i.Addresses) == 0 || len(i.Addresses) != len(i.Segment().Subnets()) {
				t.Errorf("%s %s: %v for %v", m.Name, i.Name, i.Addresses, i.Segment().Subnets())
			}
			for n, a := range i.Addresses {
				if addresses[a.String()] || a.Masked() != i.Segment().Subnets()[n] {
					t.Errorf("%s %s: %s twice, or not of %s", m.Name, i.Name, a, i.Segment().Subnets()[n])
				}
				addresses[a.String()] = true
			}
		}
	}
}
