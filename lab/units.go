package lab

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
)

const (
	minRate  = 1e3
	maxRate  = 1e12
	maxDelay = time.Minute
)

var rateForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([a-zA-Z]+)$`)

// The units of tc(8) for bits; those it has for bytes look like bits to most people ("mbps"), so they are refused.
var rateUnits = map[string]float64{
	"bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12,
	"kibit": 1 << 10, "mibit": 1 << 20, "gibit": 1 << 30, "tibit": 1 << 40,
}

// rate reads a rate such as "100mbit" in bit/s.
func (f *fields) rate(name string) uint64 {
	text, at, ok := f.text(name)
	if !ok {
		return 0
	}
	if m := rateForm.FindStringSubmatch(text); m != nil {
		if unit := rateUnits[strings.ToLower(m[2])]; unit > 0 {
			n, err := strconv.ParseFloat(m[1], 64)
			if rate := math.Round(n * unit); err == nil && rate >= minRate && rate <= maxRate {
				return uint64(rate)
			}
			f.l.errorf(at, "Rate out of range", "A rate must be from 1kbit to 1tbit per second.")
			return 0
		}
		if strings.HasSuffix(strings.ToLower(m[2]), "bps") {
			f.l.errorf(at, "Invalid rate", "tc reads %q as bytes, most people as bits. Write bits: \"%sbit\" for %s bits per second.", m[2], m[1]+strings.ToLower(strings.TrimSuffix(strings.ToLower(m[2]), "bps")), m[1]+strings.ToLower(m[2][:len(m[2])-3]))
			return 0
		}
	}
	f.l.errorf(at, "Invalid rate", "%q is not a rate. Write a number and a unit of bits per second (kbit, mbit, gbit): \"100mbit\".", shorten(text))
	return 0
}

// duration reads a time such as "10ms", which is 0 where it was left out; right is false only when it is wrong.
func (f *fields) duration(name string) (d time.Duration, right bool) {
	v, at, there, right := f.find(name)
	if !there {
		return 0, right
	}
	text, ok := f.asText(name, v, at)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	switch {
	case err != nil:
		f.l.errorf(at, "Invalid time", "%q is not a time. Write a number and a unit (us, ms, s): \"10ms\".", shorten(text))
	case d < 0 || d > maxDelay:
		f.l.errorf(at, "Time out of range", "%q must be from 0 to %s.", name, maxDelay)
	case d%time.Microsecond != 0:
		f.l.errorf(at, "Time too fine", "The kernel delays in steps of 1us; %s is not a multiple of it.", d)
	default:
		return d, true
	}
	return 0, false
}

// percent reads a share such as "1%", or 1 for the same.
func (f *fields) percent(name string) float64 {
	v, _, ok := f.get(name)
	if !ok {
		return 0
	}
	if v.Type() == cty.Number {
		x, _, _ := f.number(name, 0, 100, " per cent")
		return x
	}
	text, at, ok := f.text(name)
	if !ok {
		return 0
	}
	number, isPercent := strings.CutSuffix(text, "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	switch {
	case !isPercent || err != nil || math.IsNaN(x):
		f.l.errorf(at, "Invalid percentage", "%q is not a percentage. Write one: \"1%%\".", shorten(text))
	case x < 0 || x > 100:
		f.l.errorf(at, "Percentage out of range", "%q must be from 0%% to 100%%.", name)
	default:
		return x
	}
	return 0
}
