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
	Steps       int           // how many rates are tried at most
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

// close is how near to each other the highest rate that passed and the lowest that failed shall come.
const near = 1.02

// Takes estimates the longest that a search takes.
func (f Search) Takes(cfg Config) time.Duration {
	trial := cfg
	trial.Window = f.Trial
	return time.Duration(2*f.Steps)*trial.Takes() + time.Duration(confirmations)*cfg.Takes()
}

// confirmations is how often a rate is lowered that does not hold for the whole window.
const confirmations = 3

// FindRate looks for the highest rate at which no more is lost than allowed. It halves the ratio between the highest rate that
// passed and the lowest that failed, so the rates it can come to are always the same. A rate fails when it fails twice: one
// loss may be the machine's. What it comes to has to hold for the whole window; where it does not, it is lowered by a
// twentieth and tried again, a few times. Every trial is in the result.
func FindRate(ctx context.Context, cfg Config, f Search) (Found, error) {
	if !(f.Low > 0) || f.High < f.Low || f.Steps < 1 || f.Trial <= 0 || f.Loss < 0 {
		return Found{}, fmt.Errorf("a search from %g to %g per second in %d steps of %s", f.Low, f.High, f.Steps, f.Trial)
	}
	var r Found
	try := func(perSecond float64, window time.Duration) (d Delivery, limit string, err error) {
		trial := cfg
		trial.Window = window
		if d, err = RunPackets(ctx, trial, Packets{Size: f.Size, PerSecond: perSecond, Batch: f.Batch}); err != nil {
			return d, "", err
		}
		switch {
		case float64(d.Offered) < offers*float64(d.Offered+d.Skipped):
			limit = LimitedBySender
		case d.Loss() > f.Loss:
			limit = LimitedByPath
		}
		r.Trials = append(r.Trials, Trial{perSecond, window, d.Offered, d.Skipped, d.Received, limit == ""})
		return d, limit, nil
	}
	r.Limit = LimitedByBound
	passed, failed := 0.0, math.Inf(1)
	for step := range f.Steps {
		rate := f.High
		switch {
		case step == 0:
		case passed == 0 && step == 1:
			rate = f.Low
		case passed == 0:
			return r, nil // not even the lowest
		default:
			rate = math.Sqrt(passed * failed)
		}
		if failed/max(passed, f.Low) < near {
			break
		}
		_, limit, err := try(rate, f.Trial)
		if err == nil && limit != "" {
			_, limit, err = try(rate, f.Trial)
		}
		if err != nil {
			return r, err
		}
		if limit == "" {
			passed = rate
		} else {
			failed, r.Limit = rate, limit
		}
		if passed == f.High {
			break
		}
	}
	for range confirmations {
		if passed == 0 {
			break
		}
		d, limit, err := try(passed, cfg.Window)
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
