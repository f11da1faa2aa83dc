package testbed

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Listener is a socket that waits for whoever comes: one of TCP that listens, or one of UDP that is bound.
type Listener struct {
	Protocol string         // tcp, udp
	At       netip.AddrPort // 0.0.0.0 and :: are all addresses
	Waiting  int            // connections that nobody has accepted yet
	inode    uint64
}

// States of a socket in /proc/net (include/net/tcp_states.h) in which it waits for whoever comes.
var listeningStates = map[string]uint64{"tcp": 0x0A, "udp": 0x07}

// Listeners lists them. It asks nobody: a connection would be a program's first. The tables of /proc have all that is needed, also
// on kernels without sock_diag(7).
func Listeners(p *Place) (all []Listener, err error) {
	err = p.Do(func() error {
		for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
			found, err := listenersIn("/proc/thread-self/net/" + table)
			if err != nil && !os.IsNotExist(err) { // a kernel without IPv6 has no such table
				return err
			}
			all = append(all, found...)
		}
		return nil
	})
	return all, err
}

// listenersIn reads a table: "sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …", in
// hexadecimal up to the user.
func listenersIn(path string) (all []Listener, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	protocol := strings.TrimSuffix(filepath.Base(path), "6")
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 10 {
			continue
		}
		state, err := strconv.ParseUint(words[3], 16, 8)
		if err != nil || state != listeningStates[protocol] { // the first line has titles
			continue
		}
		l := Listener{Protocol: protocol}
		if l.At, err = socketAddress(words[1]); err != nil {
			return nil, err
		}
		if _, queue, ok := strings.Cut(words[4], ":"); ok && protocol == "tcp" {
			n, _ := strconv.ParseUint(queue, 16, 32)
			l.Waiting = int(n)
		}
		l.inode, _ = strconv.ParseUint(words[9], 10, 64)
		all = append(all, l)
	}
	return all, lines.Err()
}

// socketAddress reads 0100007F:1F90: words of 32 bits as the machine has them.
func socketAddress(text string) (netip.AddrPort, error) {
	digits, port, ok := strings.Cut(text, ":")
	b, err := hex.DecodeString(digits)
	n, failed := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || failed != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of a socket", text)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of a socket", text)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// Holder is a process with a socket.
type Holder struct {
	PID  int
	Name string
}

// Holders says which processes have the listeners, by their place in the list; some may be nobody's that can be seen.
func Holders(all []Listener) map[int]Holder {
	at := map[string]int{}
	for i, l := range all {
		at[fmt.Sprintf("socket:[%d]", l.inode)] = i
	}
	found := map[int]Holder{}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		descriptors, err := os.ReadDir(process + "/fd")
		if err != nil {
			continue // it has ended, or is another user's
		}
		for _, fd := range descriptors {
			link, err := os.Readlink(process + "/fd/" + fd.Name())
			i, is := at[link]
			if _, known := found[i]; err != nil || !is || known {
				continue
			}
			pid, _ := strconv.Atoi(filepath.Base(process))
			name, _ := os.ReadFile(process + "/comm")
			found[i] = Holder{pid, strings.TrimSpace(string(name))}
		}
	}
	return found
}

// Beside reports whether two processes are in one process namespace: a program and what it has started.
func Beside(a, b int) bool {
	first, err := os.Stat(fmt.Sprintf("/proc/%d/ns/pid", a))
	if err != nil {
		return false
	}
	second, err := os.Stat(fmt.Sprintf("/proc/%d/ns/pid", b))
	return err == nil && os.SameFile(first, second)
}
