package testbed

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A proc of one's own and /proc are the same to read and to write, in the namespace that the thread is in.
func TestSysctls(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	const path = "net/ipv4/conf/default/arp_notify"
	for _, refused := range []bool{false, true} {
		err := onThread(func(tr *thread) error {
			s := &sysctlFiles{refused: refused}
			defer s.close()
			for i := range freshEvery + 2 { // further than one proc goes
				value := string(rune('0' + i%2))
				if i%100 == 0 {
					tr.away = true
					if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
						return err
					}
					if got, err := s.read(path); err != nil || got != "0" {
						t.Errorf("a new namespace has %s = %q, %v", path, got, err)
					}
				}
				if err := s.write(path, value); err != nil {
					return err
				}
				text, err := os.ReadFile("/proc/sys/" + path)
				if err != nil {
					return err
				}
				if got, err := s.read(path); err != nil || got != value || got != strings.TrimSpace(string(text)) {
					t.Errorf("wrote %s, read %q, %v; /proc has %s", value, got, err, text)
				}
			}
			if _, err := s.read("net/ipv4/no_such_file"); !os.IsNotExist(err) {
				t.Errorf("a file that is not there: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
