package netfilter

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/nft"
)

// inside runs f on a thread in a network namespace of its own.
func inside(t testing.TB, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// run starts a program in the thread's namespace, and returns what it prints.
func run(t testing.TB, input string, args ...string) string {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

func dial(t testing.TB) *Conn {
	c, err := Dial()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return c
}

func read(t testing.TB, c *Conn) *nft.Ruleset {
	r, err := c.Ruleset(&nft.Known{})
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return r
}

// account makes the counters that rules of iptables name.
func account(t testing.TB, names ...string) {
	for _, name := range names {
		req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_ACCT<<8, unix.NLM_F_CREATE|unix.NLM_F_ACK)
		req.AddData(&nl.Nfgenmsg{Version: nl.NFNETLINK_V0})
		req.AddData(nl.NewRtAttr(1, nl.ZeroTerminated(name)))
		if _, err := req.Execute(unix.NETLINK_NETFILTER, 0); err != nil {
			t.Error(err)
		}
	}
}

// TestDumps loads what real programs made, and one rule of each shape: what is read prints as nft(8) prints it; and written
// anew by us it is, to nft(8) and to us, the same.
func TestDumps(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.nft")
	saves, _ := filepath.Glob("testdata/*.iptables")
	for _, file := range append(files, saves...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			inside(t, func() {
				if strings.HasSuffix(file, ".nft") {
					run(t, string(text), "nft", "-f", "-")
				} else {
					account(t, "ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts")
					run(t, string(text), "iptables-nft-restore")
				}
				want := list(t)
				if len(want) < 100 {
					t.Error("nothing was loaded")
				}
				c := dial(t)
				defer c.Close()
				was := read(t, c)
				if diff := diff(want, was.Text()); diff != "" {
					t.Errorf("what is read prints differently (-nft +here)\n%s", diff)
				}
				messages(t, filepath.Base(file), was)
				saved := ""
				if strings.HasSuffix(file, ".iptables") {
					saved = save(t)
				}
				run(t, "", "nft", "flush", "ruleset")
				write(t, c, was)
				if diff := diff(want, list(t)); diff != "" {
					t.Errorf("what is written prints differently (-then +now)\n%s", diff)
				}
				if saved != "" {
					if diff := cmp.Diff(saved, save(t)); diff != "" {
						t.Errorf("to iptables what is written is something else (-then +now)\n%s", diff)
					}
				}
				if diff := cmp.Diff(values(was), values(read(t, c))); diff != "" {
					t.Errorf("what is written is not what is read (-then +now)\n%s", diff)
				}
			})
		})
	}
}

var update = flag.Bool("update", false, "write the messages that lab/nft is fuzzed with")

// messages holds what makes a ruleset against what lab/nft is tested with: there no kernel is at hand.
func messages(t testing.TB, name string, r *nft.Ruleset) {
	var b strings.Builder
	for _, s := range Steps(values(r)) {
		for _, m := range s.Messages {
			fmt.Fprintf(&b, "%d %d %x\n", m.Kind, m.Family, m.Data)
		}
	}
	file := filepath.Join("..", "..", "lab", "nft", "testdata", name+".messages")
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(b.String()), 0o644)); err != nil {
			t.Error(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != b.String() {
		t.Errorf("%s is not what makes %s (go test ./testbed/netfilter -update writes it anew): %v", file, name, err)
	}
}

var passing = regexp.MustCompile(` expires \S+`)

// list is the ruleset as nft(8) prints it.
func list(t testing.TB) string { return run(t, "", "nft", "list", "ruleset") }

// save is the ruleset as iptables prints it, without the time.
func save(t testing.TB) string {
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(run(t, "", "iptables-nft-save"), "")
	if strings.Count(text, "--comment") < 20 {
		t.Errorf("iptables shows\n%s", text)
	}
	return text
}

// diff compares what does not pass by itself.
func diff(a, b string) string {
	return cmp.Diff(passing.ReplaceAllString(a, " expires soon"), passing.ReplaceAllString(b, " expires soon"))
}

// values are a ruleset without what the kernel counts.
func values(r *nft.Ruleset) *nft.Ruleset {
	v := *r
	v.Rules, v.Elements = slices.Clone(r.Rules), slices.Clone(r.Elements)
	for i := range v.Rules {
		v.Rules[i].Handle = 0
	}
	for i := range v.Elements {
		v.Elements[i].Expires = 0
	}
	slices.SortFunc(v.Elements, func(a, b nft.Element) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return &v
}

// write makes a ruleset where there is none.
func write(t testing.TB, c *Conn, r *nft.Ruleset) {
	if err := c.Do(t.Context(), Steps(r), func(int) {}); err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

// TestDrawn: the elements of a set that drawn numbers are looked up in are asked for by their numbers, and are those that all elements
// of the set are. Where there are others the set is read whole.
func TestDrawn(t *testing.T) {
	inside(t, func() {
		c := dial(t)
		defer c.Close()
		run(t, `table ip t {
			chain c {
				dnat to numgen random mod 3 map { 0 : 10.0.0.1, 1 : 10.0.0.2, 2 : 10.0.0.3 }
				dnat to numgen inc mod 2 offset 5 map { 5 : 10.0.0.1, 6 : 10.0.0.2 }
				dnat to numgen random mod 3 map { 0 : 10.0.0.1, 2 : 10.0.0.3 }
				dnat to numgen random mod 2 map { 0 : 10.0.0.1, 7 : 10.0.0.3 }
				numgen random mod 2 vmap { 0 : accept, 1 : drop }
				tcp dport { 80, 443 } accept
			}
		}`, "nft", "-f", "-")
		r := read(t, c)
		var sets []nft.Set
		if err := c.dump(nft.Message{Kind: nft.GetSet}, collect(&sets, nft.ParseSet)); err != nil {
			t.Error(err)
		}
		rules, err := c.Rules(nft.IPv4, "t", "c")
		if err != nil || len(rules) != 6 || len(sets) != 6 || len(r.Rules) != 6 {
			t.Errorf("%d rules, %d sets: %v", len(rules), len(sets), err)
			return
		}
		ways := ""
		for i, s := range sets {
			whole, err := c.elements(s, nft.Rule{})
			if err != nil {
				t.Error(err)
			}
			got, err := c.elements(s, rules[i])
			if err != nil || !cmp.Equal(nft.NewInline(s, s.Join(got)), nft.NewInline(s, s.Join(whole))) {
				t.Errorf("%s: %v: %+v instead of %+v", s.Name, err, got, whole)
			}
			m, ok := s.Drawn(rules[i])
			found := 0
			err = c.ask(m, unix.NLM_F_ACK, func(nft.Family, []byte) error { found++; return nil })
			switch {
			case !ok:
				ways += " all"
			case err != nil:
				ways += " failed"
			default:
				ways += fmt.Sprint(" ", found)
			}
		}
		if ways != " 3 2 all failed 2 all" {
			t.Errorf("sets are read so:%s", ways)
		}
	})
}
