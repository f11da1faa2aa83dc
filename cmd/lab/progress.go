package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress shows the steps of a long work: on a terminal a spinner that becomes a tick, elsewhere a plain line a step.
type progress struct {
	w     io.Writer
	live  bool
	mu    sync.Mutex
	text  string
	count string
	stop  chan struct{}
	done  sync.WaitGroup
}

func newProgress(w io.Writer) *progress { return &progress{w: w, live: isTerminal(w)} }

// begin starts a step, ending the one before with success.
func (p *progress) begin(format string, args ...any) {
	p.end(true)
	p.text = fmt.Sprintf(format, args...)
	if !p.live {
		return
	}
	p.stop = make(chan struct{})
	p.done.Add(1)
	go func(stop chan struct{}) {
		defer p.done.Done()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			p.mu.Lock()
			fmt.Fprintf(p.w, "\r\x1b[K %c %s %s", []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")[i%10], p.text, p.count)
			p.mu.Unlock()
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}(p.stop)
}

// set shows how far the step is.
func (p *progress) set(format string, args ...any) {
	if !p.live {
		return
	}
	p.mu.Lock()
	p.count = fmt.Sprintf(format, args...)
	p.mu.Unlock()
}

// end finishes the step that is going on, if any.
func (p *progress) end(ok bool) {
	if p.text == "" {
		return
	}
	if p.stop != nil {
		close(p.stop)
		p.done.Wait()
		p.stop = nil
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	mark := "✓"
	if !ok {
		mark = "✗"
	}
	if p.live {
		if ok {
			mark = "\x1b[32m" + mark + "\x1b[0m"
		} else {
			mark = "\x1b[31m" + mark + "\x1b[0m"
		}
	}
	fmt.Fprintf(p.w, " %s %s\n", mark, p.text)
	p.text, p.count = "", ""
}
