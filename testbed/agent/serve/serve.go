// Package serve is the responder of a machine: it answers on the ports that the machine and its pods serve, each in its own
// namespace, and says who answered and whom it took for the client. One process serves them all.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/agent/logfile"
)

// Responder is a running responder.
type Responder struct {
	mu    sync.Mutex
	spots []*spot
}

// spot is what is served in one namespace.
type spot struct {
	plan.Serving
	log      *log.Logger
	answered atomic.Uint64

	place *testbed.Place // where it listens; nil: nowhere
	ends  []io.Closer
	why   error // why nowhere
}

func (s *spot) isPod() bool { return strings.Contains(s.Title, "/") }

// New reads a configuration. The responder is at home in the namespace.
func New(config []byte, namespace string) (*Responder, error) {
	var c plan.Responder
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	r := &Responder{}
	name, _, _ := strings.Cut(namespace, ".")
	for _, s := range c.Serves {
		at := &spot{Serving: s, log: log.Default()}
		if at.isPod() { // it has a log of its own, also where it shares a namespace
			at.log = log.New(logfile.New(testbed.AgentLog(name+"."+strings.ReplaceAll(s.Title, "/", "."), plan.ResponderAgent)), "", log.LstdFlags|log.Lmicroseconds)
		}
		r.spots = append(r.spots, at)
	}
	return r, nil
}

// Run serves until ctx is done. A pod whose namespace is made anew is served there.
func (r *Responder) Run(ctx context.Context, ready func()) error {
	defer r.close()
	if err := r.listen(); err != nil {
		return err
	}
	ready()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(300 * time.Millisecond):
			_ = r.listen() // the status says where it cannot
		}
	}
}

// listen makes it serve wherever it does not.
func (r *Responder) listen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, s := range r.spots {
		if s.place != nil && s.place.Leads() {
			continue
		}
		s.close()
		if s.why = s.open(); s.why != nil {
			s.close()
			errs = append(errs, fmt.Errorf("%s: %w", s.Title, s.why))
		}
	}
	return errors.Join(errs...)
}

func (s *spot) open() error {
	place, err := testbed.Open(s.Namespace)
	if err != nil {
		return err
	}
	s.place = place
	return place.Do(func() error {
		for _, port := range s.Ports {
			protocol, at, _ := strings.Cut(port, "/")
			listen := s.http
			if protocol == "udp" {
				listen = s.datagrams
			}
			address, number, one := strings.Cut(at, ":")
			if !one {
				address, number = "", at
			}
			err := listen(address, number)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *spot) close() {
	for _, e := range s.ends {
		e.Close()
	}
	s.ends = nil
	if s.place != nil {
		s.place.Close()
		s.place = nil
	}
}

func (r *Responder) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spots {
		s.close()
	}
}

// answer is what everyone is told that asks.
func (s *spot) answer(client fmt.Stringer) string { return fmt.Sprintf("%s %s\n", s.Title, client) }

// Status is what the responder says of itself.
func (r *Responder) Status() any {
	_ = r.listen() // whoever asks waits for what is new
	r.mu.Lock()
	defer r.mu.Unlock()
	settled, answered, pods, lines := true, uint64(0), 0, []string{}
	for _, s := range r.spots {
		n := s.answered.Load()
		answered += n
		if s.isPod() {
			pods++
		}
		line := fmt.Sprintf("%s on %s, %d answered", s.Title, strings.Join(s.Ports, " "), n)
		if s.why != nil {
			settled = false
			line = fmt.Sprintf("%s does not answer: %v", s.Title, s.why)
		}
		lines = append(lines, line)
	}
	summary := fmt.Sprintf("answers for %s, %d answered", counted(pods), answered)
	switch {
	case len(lines) == 1:
		summary, lines = lines[0], nil
	case pods < len(lines):
		summary = fmt.Sprintf("answers for the machine and %s, %d answered", counted(pods), answered)
	}
	return map[string]any{"summary": summary, "settled": settled, "lines": lines, "answered": answered}
}

func counted(pods int) string {
	if pods == 1 {
		return "1 pod"
	}
	return fmt.Sprintf("%d pods", pods)
}
