package traffic

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// softirqs reads how often each CPU has worked on packets. Time would tell less: it is counted in ticks, and it is anybody's,
// while nearly nothing but packets makes these.
type softirqs struct {
	fd  int
	buf []byte
}

func openSoftirqs() (*softirqs, error) {
	fd, err := unix.Open("/proc/softirqs", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("count packets by CPU: open /proc/softirqs: %w", err)
	}
	return &softirqs{fd, make([]byte, 1<<16)}, nil
}

func (s *softirqs) close() { _ = unix.Close(s.fd) }

// elsewhere returns the number of all CPUs but one.
func (s *softirqs) elsewhere(cpu int) (int64, error) {
	n := 0
	err := again(func() (err error) { n, err = unix.Pread(s.fd, s.buf, 0); return err })
	if err != nil {
		return 0, fmt.Errorf("count packets by CPU: read /proc/softirqs: %w", err)
	}
	return parseSoftirqs(s.buf[:n], cpu)
}

// parseSoftirqs adds up the rows for packets. The first line names the CPUs: those that are offline have no column.
func parseSoftirqs(text []byte, but int) (int64, error) {
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	cpus := bytes.Fields(head)
	own := fmt.Appendf(nil, "CPU%d", but)
	var sum int64
	rows := 0
	for row := range bytes.Lines(rest) {
		fields := bytes.Fields(row)
		if len(fields) != len(cpus)+1 || string(fields[0]) != "NET_RX:" && string(fields[0]) != "NET_TX:" {
			continue
		}
		rows++
		for i, field := range fields[1:] {
			n, err := strconv.ParseInt(string(field), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("count packets by CPU: /proc/softirqs: %w", err)
			}
			if !bytes.Equal(cpus[i], own) {
				sum += n
			}
		}
	}
	if rows != 2 {
		return 0, fmt.Errorf("count packets by CPU: /proc/softirqs has %d rows of NET_RX and NET_TX for its %d CPUs, not two", rows, len(cpus))
	}
	return sum, nil
}
