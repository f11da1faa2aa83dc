package traffic

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is time that all CPUs of the machine spent, interrupts included, by what they spent it on. A process's own account
// would miss the most of it: packets are worked on in softirqs, which are charged to whoever is interrupted.
//
// The kernel may count in ticks of a few milliseconds, so the parts of a short window are rough, and may come out below zero
// where the idle machine's share is subtracted.
type CPU struct {
	User, Nice, System, IRQ, SoftIRQ time.Duration
	Steal                            time.Duration // that the hypervisor took: no work of this machine
}

// Busy returns the time spent working, on whatever: all but stolen time.
func (c CPU) Busy() time.Duration { return c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ }

// Per returns the CPU seconds spent on each of so many units.
func (c CPU) Per(units float64) float64 { return c.Busy().Seconds() / units }

// working is the CPU without stolen time. What is stolen during a run is reported as it is.
func (c CPU) working() CPU {
	c.Steal = 0
	return c
}

func (c CPU) minus(o CPU) CPU {
	return CPU{c.User - o.User, c.Nice - o.Nice, c.System - o.System, c.IRQ - o.IRQ, c.SoftIRQ - o.SoftIRQ, c.Steal - o.Steal}
}

// scaled returns what it would have been in another time.
func (c CPU) scaled(to, from time.Duration) CPU {
	scale := func(d time.Duration) time.Duration { return time.Duration(float64(d) * float64(to) / float64(from)) }
	return CPU{scale(c.User), scale(c.Nice), scale(c.System), scale(c.IRQ), scale(c.SoftIRQ), scale(c.Steal)}
}

// MeasureIdle returns what the machine spends in a second while nothing is measured.
func MeasureIdle(ctx context.Context, length time.Duration) (CPU, error) {
	stat, err := openStat()
	if err != nil {
		return CPU{}, err
	}
	defer stat.close()
	start := now()
	before, err := stat.read()
	if err != nil {
		return CPU{}, err
	}
	select {
	case <-time.After(length):
	case <-ctx.Done():
		return CPU{}, context.Cause(ctx)
	}
	took := now() - start
	after, err := stat.read()
	return after.minus(before).scaled(time.Second, took), err
}

// stat reads /proc/stat again and again without allocating.
type stat struct {
	fd  int
	buf []byte
}

func openStat() (*stat, error) {
	fd, err := unix.Open("/proc/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("count CPU time: open /proc/stat: %w", err)
	}
	return &stat{fd, make([]byte, 512)}, nil
}

func (s *stat) close() { _ = unix.Close(s.fd) }

func (s *stat) read() (CPU, error) {
	var n int
	err := again(func() (err error) { n, err = unix.Pread(s.fd, s.buf, 0); return err })
	if err != nil {
		return CPU{}, fmt.Errorf("count CPU time: read /proc/stat: %w", err)
	}
	return parseStat(s.buf[:n])
}

// tick is the unit of /proc/stat, the same on every Linux whatever its kernel ticks at.
const tick = 10 * time.Millisecond

// parseStat reads the first line: the sum over all CPUs. A guest's time is part of user time there.
func parseStat(text []byte) (CPU, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return CPU{}, fmt.Errorf("count CPU time: /proc/stat begins with %q, not with the sum over all CPUs", line)
	}
	var c CPU
	for i, into := range []*time.Duration{&c.User, &c.Nice, &c.System, nil, nil, &c.IRQ, &c.SoftIRQ, &c.Steal} {
		if into == nil { // idle, and waiting for a disk
			continue
		}
		n, err := strconv.ParseInt(string(fields[i+1]), 10, 64)
		if err != nil {
			return CPU{}, fmt.Errorf("count CPU time: /proc/stat: %w", err)
		}
		*into = time.Duration(n) * tick
	}
	return c, nil
}
