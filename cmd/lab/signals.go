package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// grace is how long a verb that leaves nothing half done has to notice that it was interrupted.
const grace = time.Second

// interruptible sets up the outputs and returns a context that ends with Ctrl-C, and likewise with a lost terminal, a
// closed pipe or a kill: whatever ends lab early, what it was building is removed.
func (c *command) interruptible(stdout, stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	c.out = &output{Writer: stdout, closed: cancel}
	c.err = &output{Writer: stderr, closed: cancel}
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as by nohup
			signal.Notify(signals, s)
		}
	}
	// Caught and not looked at: writing to a closed pipe then is an error as any other, and programs that lab starts have
	// the signal as usual, which they would not if it were ignored.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-signals:
			}
			if n > 0 {
				c.say("Cleaning up; one moment. After kill -9 \"lab down\" would remove the rest.")
				continue
			}
			cancel()
			time.AfterFunc(grace, func() {
				select {
				case <-done:
				default:
					if c.atWork.Load() == 0 {
						c.say("lab: interrupted")
						os.Exit(failed)
					}
				}
			})
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(pipes)
		close(done)
		cancel()
	}
}

// working says that something is being done that must not be left half done; what it returns says that it is finished.
// Everything else, however long it computes, may be ended at any moment.
func (c *command) working() (finished func()) {
	c.atWork.Add(1)
	return func() { c.atWork.Add(-1) }
}

// output is where lab writes. It remembers the first error, so that no verb has to, and takes a reader that went away for
// the wish to end.
type output struct {
	io.Writer
	closed func()
	mu     sync.Mutex
	err    error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
		if errors.Is(err, syscall.EPIPE) {
			o.closed()
		}
	}
	return n, err
}

// lost reports data that could not be written.
func (c *command) lost() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.err == nil {
		return nil
	}
	return fmt.Errorf("writing the output: %w", c.out.err)
}

// file returns the file behind an output.
func file(w any) (*os.File, bool) {
	if o, ok := w.(*output); ok {
		w = o.Writer
	}
	f, ok := w.(*os.File)
	return f, ok
}
