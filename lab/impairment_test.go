package lab

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestImpairmentWith(t *testing.T) {
	slow := Impairment{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, Rate: 1e7}
	for _, tt := range []struct {
		from  Impairment
		words string
		want  string // or what the error says
	}{
		{Impairment{}, "delay=10ms", "delay=10ms"},
		{Impairment{}, "rate=10mbit loss=0.5%", "loss=0.5% rate=10mbit"},
		{slow, "none", "none"},
		{slow, "loss=1%", "delay=50ms jitter=10ms loss=1% rate=10mbit"},
		{slow, "jitter=0", "delay=50ms rate=10mbit"},
		{slow, "delay=0", "rate=10mbit"},
		{slow, "rate=0 delay=0ms", "none"},
		{slow, "delay=5ms", "jitter=10ms: A delay of 5ms cannot vary by 10ms"},
		{Impairment{}, "jitter=5ms", "Jitter needs a delay"},
		{Impairment{}, "delay=fast", `delay=fast: "fast" is not a time`},
		{Impairment{}, "delay=2h", "from 0 to 1m"},
		{Impairment{}, "loss=101%", "from 0% to 100%"},
		{Impairment{}, "loss=1", "is not a percentage"},
		{Impairment{}, "rate=10mbps", "bytes"},
		{Impairment{}, "speed=1", "no speed"},
		{Impairment{}, "dely=1ms", `Did you mean "delay"?`},
		{Impairment{}, "delay", "name=value"},
		{Impairment{}, "none delay=1ms", "none alone"},
		{Impairment{}, "delay=1ms delay=2ms", "twice"},
	} {
		got, err := tt.from.With(strings.Fields(tt.words))
		if err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && got.String() != tt.want {
			t.Errorf("%s with %s: %s, %v; not %s", tt.from, tt.words, got, err, tt.want)
		}
	}
	// What is said of one is read as the same one.
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		i := Impairment{Rate: uint64(1e3+rng.IntN(1e9)) * uint64(rng.IntN(2)), Loss: float64(rng.IntN(1001)) / 10, Delay: time.Duration(rng.IntN(1e6)) * time.Microsecond}
		if i.Delay > 0 {
			i.Jitter = time.Duration(rng.IntN(int(i.Delay/time.Microsecond)+1)) * time.Microsecond
		}
		if i == (Impairment{}) {
			continue
		}
		if got, err := (Impairment{}).With(strings.Fields(i.String())); err != nil || got != i {
			t.Errorf("%s is read as %s, %v", i, got, err)
		}
	}
}
