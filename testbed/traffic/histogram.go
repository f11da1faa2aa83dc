package traffic

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram counts times to three significant digits, from a nanosecond up. Histograms can be merged; percentiles cannot be
// averaged. In JSON it is a list of pairs: nanoseconds, and how many.
type Histogram struct{ hdr *hdrhistogram.Histogram }

// NewHistogram returns an empty one. No time in it is longer than what a socket waits for, twice.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, (2 * limit).Nanoseconds(), 3)}
}

// record counts a time. What is out of range counts as the end of the range; it is not left out.
func (h *Histogram) record(d time.Duration) {
	_ = h.hdr.RecordValue(min(max(d.Nanoseconds(), 0), (2 * limit).Nanoseconds()))
}

// Merge adds what the other has counted.
func (h *Histogram) Merge(other *Histogram) { h.hdr.Merge(other.hdr) }

// Count returns how many times were counted.
func (h *Histogram) Count() int64 { return h.hdr.TotalCount() }

// Percentile returns the time that so many per cent did not exceed.
func (h *Histogram) Percentile(percent float64) time.Duration {
	return time.Duration(h.hdr.ValueAtPercentile(percent))
}

// Mean returns the average.
func (h *Histogram) Mean() time.Duration { return time.Duration(h.hdr.Mean()) }

// Middle returns the average of the middle half: of all but the shortest and the longest quarter. It hardly moves when
// somebody else gets the CPU in between, and unlike the median it does not jump between the steps of the histogram.
func (h *Histogram) Middle() time.Duration {
	n := h.Count()
	if n == 0 {
		return 0
	}
	first, last := n/4, n-n/4
	var seen int64
	var sum float64
	for _, bar := range h.hdr.Distribution() {
		from, to := max(seen, first), min(seen+bar.Count, last)
		if from < to {
			sum += float64(to-from) * float64(bar.From+bar.To) / 2
		}
		seen += bar.Count
	}
	return time.Duration(sum / float64(last-first))
}

// Max returns the longest.
func (h *Histogram) Max() time.Duration { return time.Duration(h.hdr.Max()) }

// Pairs returns what was counted: nanoseconds, and how many, in order.
func (h *Histogram) Pairs() [][2]int64 {
	pairs := [][2]int64{}
	for _, bar := range h.hdr.Distribution() {
		if bar.Count > 0 {
			pairs = append(pairs, [2]int64{bar.From, bar.Count})
		}
	}
	return pairs
}

func (h *Histogram) MarshalJSON() ([]byte, error) { return json.Marshal(h.Pairs()) }

func (h *Histogram) UnmarshalJSON(text []byte) error {
	var pairs [][2]int64
	if err := json.Unmarshal(text, &pairs); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	*h = *NewHistogram()
	for _, p := range pairs {
		if p[1] < 0 {
			return fmt.Errorf("histogram: %d ns counted %d times", p[0], p[1])
		}
		if err := h.hdr.RecordValues(p[0], p[1]); err != nil {
			return fmt.Errorf("histogram: %w", err)
		}
	}
	return nil
}
