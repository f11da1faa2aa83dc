package traffic

import (
	"context"
	"fmt"
	"math"
	"time"
)

// Search says how the highest rate is looked for.
type Search struct {
	Size, Batch int           // of Packets
	Low, High   float64       // datagrams per second, between which it is looked for
	Loss        float64       // the greatest share that may be lost: 0.001 is one in a thousand
	Trial       time.Duration // how long one rate is tried
	Steps       int           // how many rates the search takes where no trial is unlucky; one that was costs more
}

// Found is the highest rate that a search found, and how it got there.
type Found struct {
	Delivery         // of the confirmation, which ran for the whole window
	Confirmed bool   // the loss was within bounds for the whole window
	Limit     string // what ended the search from above: the path lost more, the sender could not, or nothing did
	Trials    []Trial
}

// Why no higher rate was found.
const (
	LimitedByPath   = "path"   // it lost more than it may
	LimitedBySender = "sender" // the engine could not offer more on this machine
	LimitedByBound  = "bound"  // the search's own upper bound was sustained
)

// Trial is one rate that was tried.
type Trial struct {
	PerSecond float64 // asked for
	Window    time.Duration
	Offered   int64
	Skipped   int64
	Received  int64
	Passed    bool
}

// offers is the least share of a rate that a sender must have offered for the rate to have been tried at all.
const offers = 0.95

// near is how near to each other the highest rate that passed and the lowest that failed need not come.
const near = 1.02

// tries is how often a rate is tried before it counts as failed.
const tries = 2

// confirmations is how often a rate is lowered that does not hold for the whole window.
const confirmations = 3

// most is how many rates are tried at most: a failure that was bad luck makes the search go down and come back.
func (f Search) most() int { return 2*f.Steps + 2 }

// Takes estimates the longest that a search takes.
func (f Search) Takes(cfg Config) time.Duration {
	trial := cfg
	trial.Window = f.Trial
	return tries * (time.Duration(f.most())*trial.Takes() + confirmations*cfg.Takes())
}

// FindRate looks for the highest rate at which no more is lost than allowed. It halves the ratio between the highest rate that
// passed and the lowest that failed, so the rates it can come to are always the same. A machine with other work to do makes
// trials fail, and none pass: what passed is believed at once, and what failed only when it failed twice, and twice again when
// it is all that stands in the way of a higher rate. What the search comes to has to hold for the whole window; where it does
// not, it is lowered by a twentieth and tried again, a few times. Every trial is in the result.
func FindRate(ctx context.Context, cfg Config, f Search) (Found, error) {
	if !(f.Low > 0) || f.High < f.Low || f.Steps < 2 || f.Trial <= 0 || f.Loss < 0 {
		return Found{}, fmt.Errorf("a search from %g to %g per second in %d steps of %s", f.Low, f.High, f.Steps, f.Trial)
	}
	return f.find(cfg.Window, func(perSecond float64, window time.Duration) (Delivery, error) {
		trial := cfg
		trial.Window = window
		return RunPackets(ctx, trial, Packets{Size: f.Size, PerSecond: perSecond, Batch: f.Batch})
	})
}

// bound is a rate that failed.
type bound struct {
	rate  float64
	limit string
}

// find is FindRate for any way of sending.
func (f Search) find(window time.Duration, send func(perSecond float64, window time.Duration) (Delivery, error)) (Found, error) {
	var r Found
	try := func(perSecond float64, window time.Duration) (d Delivery, limit string, err error) {
		for range tries {
			if d, err = send(perSecond, window); err != nil {
				return d, "", err
			}
			limit = f.verdict(d)
			r.Trials = append(r.Trials, Trial{perSecond, window, d.Offered, d.Skipped, d.Received, limit == ""})
			if limit == "" {
				break
			}
		}
		return d, limit, nil
	}
	resolution := max(near, math.Pow(f.High/f.Low, math.Exp2(float64(2-f.Steps)))*(1+1e-9))
	passed := 0.0
	var failed []bound // each lower than the one before
	for range f.most() {
		rate, doubted := f.High, false
		if n := len(failed); n > 0 {
			lowest := failed[n-1].rate
			switch {
			case passed == 0 && lowest > f.Low:
				rate = f.Low
			case passed == 0 || lowest/passed < resolution:
				rate, doubted = lowest, true
			default:
				rate = math.Sqrt(passed * lowest)
			}
		}
		_, limit, err := try(rate, f.Trial)
		if err != nil {
			return r, err
		}
		switch {
		case limit == "" && doubted:
			failed = failed[:len(failed)-1]
			fallthrough
		case limit == "":
			passed = rate
		case !doubted:
			failed = append(failed, bound{rate, limit})
		}
		if limit == "" && len(failed) == 0 || limit != "" && doubted {
			break
		}
	}
	r.Limit = LimitedByBound
	if n := len(failed); n > 0 {
		r.Limit = failed[n-1].limit
	}
	for range confirmations {
		if passed == 0 {
			break // not even the lowest
		}
		d, limit, err := try(passed, window)
		if err != nil {
			return r, err
		}
		r.Delivery = d
		if r.Confirmed = limit == ""; r.Confirmed {
			break
		}
		passed, r.Limit = passed*0.95, limit
	}
	return r, nil
}

// verdict says what a rate failed at, or nothing.
func (f Search) verdict(d Delivery) string {
	switch {
	case float64(d.Offered) < offers*float64(d.Offered+d.Skipped):
		return LimitedBySender
	case d.Loss() > f.Loss:
		return LimitedByPath
	}
	return ""
}
