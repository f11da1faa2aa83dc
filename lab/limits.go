package lab

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Limits are what a program may take of the machine; what is zero is not limited.
type Limits struct {
	Memory int64 // bytes
	CPUs   float64
	PIDs   int // processes and threads
}

const (
	minMemory = 6 << 20 // Docker's: with less hardly anything starts
	maxMemory = 1 << 43
	maxCPUs   = 4096
	maxPIDs   = 1 << 22
)

var (
	sizeForm  = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?(b|[kmg]i?b?)$`)
	sizeUnits = map[byte]float64{'b': 1, 'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30}
)

// limits reads what a program may take.
func (f *fields) limits() (l Limits) {
	cpus, at, ok := f.number("cpus", 0, maxCPUs, "")
	if l.CPUs = cpus; ok && cpus < 0.01 {
		f.l.errorf(at, "Number out of range", "\"cpus\" must be from 0.01 to %d.", maxCPUs)
	}
	l.PIDs, _, _ = f.integer("pids", 1, maxPIDs, "")
	text, at, ok := f.text("memory")
	if !ok {
		return l
	}
	m := sizeForm.FindStringSubmatch(strings.ToLower(text))
	if m == nil {
		f.l.errorf(at, "Invalid size", "%q is no amount of memory. Write a number and a unit (KB, MB, GB), which are powers of 1024 as Docker takes them: \"64MB\".", shorten(text))
		return l
	}
	n, err := strconv.ParseFloat(m[1], 64)
	n = math.Round(n * sizeUnits[m[2][0]])
	if err != nil || n < minMemory || n > maxMemory {
		f.l.errorf(at, "Size out of range", "A program may be given from %s to %s of memory.", SizeText(minMemory), SizeText(maxMemory))
		return l
	}
	l.Memory = int64(n)
	return l
}

// SizeText writes a number of bytes as a definition would: 64MB.
func SizeText(bytes int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GB"}, {1 << 20, "MB"}, {1 << 10, "KB"}} {
		if bytes%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", bytes/unit.bytes, unit.name)
		}
	}
	return fmt.Sprintf("%dB", bytes)
}
