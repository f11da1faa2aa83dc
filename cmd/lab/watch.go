package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"labnet/faults"
	"labnet/lab/plan"
	"labnet/testbed"
)

func (c *command) drillWatch() *cobra.Command {
	return c.during("watch", "Redraw the state of the drill as you fix it", `Shows the story and the checks, and redraws them as things change, until the drill is solved.

  h  the next hint
  r  break it again, as it was when the drill began
  n  another drill, once this one is solved
  q  quit; the drill stays on`, "  sudo lab drill watch", func(cmd *cobra.Command, name string, d faults.Drill) error {
		in, ok := c.in.(*os.File)
		if !ok || !term.IsTerminal(int(in.Fd())) || !isTerminal(c.out) {
			return refuse("lab drill watch needs a terminal; \"lab drill check\" judges once")
		}
		was, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return err
		}
		defer term.Restore(int(in.Fd()), was)
		keys := make(chan byte)
		go func() {
			for b := make([]byte, 1); ; {
				if _, err := in.Read(b); err != nil {
					close(keys)
					return
				}
				keys <- b[0]
			}
		}()
		return c.watches(cmd.Context(), name, d, keys)
	})
}

// watches is the loop of watch: it draws, and waits for a key or for the next look.
func (c *command) watches(ctx context.Context, name string, d faults.Drill, keys <-chan byte) error {
	p, strikes, err := c.planned(name, d)
	if err != nil {
		return err
	}
	var hints []string
	for {
		doc, r, err := c.judges(ctx, p, d, 0)
		if err != nil {
			return err
		}
		solved := doc.State == faults.Solved
		if solved {
			doc.Drill = strings.Join(d.Names, "+")
			if err := testbed.Drop(name, drillName); err != nil {
				return err
			}
		}
		var screen strings.Builder
		drawn := &command{out: &output{Writer: &screen, closed: func() {}}}
		for _, s := range strikes {
			drawn.tell([]string{s.Tell(s.Story)})
		}
		drawn.tell(nil, "", fmt.Sprintf("Drill %s of level %d in lab %s, mode %s: %s", doc.Drill, d.Level, name, d.Mode, spent(d)))
		drawn.verdict(d, doc, r, strikes)
		drawn.tell(nil, hints...)
		help := "h hint · r break it again · q quit"
		if solved {
			help = "n another drill · q quit"
		}
		fmt.Fprintf(c.out, "\x1b[H\x1b[2J%s\r\n%s\r\n", strings.ReplaceAll(screen.String(), "\n", "\r\n"), help)
		key, err := pressed(ctx, keys, solved)
		if err != nil {
			return err
		}
		switch key {
		case 'q', 3, 4: // also Ctrl-C and Ctrl-D: the terminal is raw
			return nil
		case 'h':
			if all := every(strikes, name); !solved && d.Hints < len(all) {
				hints = append(hints, fmt.Sprintf("Hint %d of %d: %s", d.Hints+1, len(all), all[d.Hints]))
				d.Hints++
				err = testbed.Keep(name, drillName, d.Seal())
			}
		case 'r':
			if !solved {
				err = c.anew(ctx, p, strikes)
			}
		case 'n':
			if solved {
				hints, d.Seed = nil, d.Seed+1
				if strikes = faults.Random(p, 0, 1, d.Seed); len(strikes) == 0 {
					return nil
				}
				d, _, err = c.begins(ctx, p, faults.New(p, d.Seed, true, strikes...), strikes)
			}
		}
		if err != nil {
			return err
		}
	}
}

// pressed waits for a key, and where the drill is on for the next look.
func pressed(ctx context.Context, keys <-chan byte, solved bool) (byte, error) {
	var next <-chan time.Time
	if !solved {
		next = time.After(time.Second)
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case key, open := <-keys:
		if !open {
			return 'q', nil
		}
		return key, nil
	case <-next:
		return 0, nil
	}
}

// every hint of all faults, those that say least first.
func every(strikes []faults.Strike, name string) []string {
	var all []string
	for i := range 3 {
		for _, s := range strikes {
			all = append(all, s.Hints(name)[i])
		}
	}
	return all
}

// anew makes the lab what it was when its drill began.
func (c *command) anew(ctx context.Context, p *plan.Plan, strikes []faults.Strike) error {
	lock, err := testbed.Acquire(ctx, p.Cluster.Name, true)
	if err != nil {
		return err
	}
	defer lock.Release()
	defer c.working()()
	actual, err := testbed.Read(ctx, p.Cluster.Name, p.State)
	if err != nil {
		return err
	}
	return testbed.Apply(ctx, plan.Diff(actual, faults.On(p.State, strikes...)), func(plan.Change) {})
}
