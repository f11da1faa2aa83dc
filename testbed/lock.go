package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// Recorded lists the labs that keep something below /run/lab. Anybody may ask.
func Recorded() []string {
	entries, _ := os.ReadDir(runDir)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// ErrBusy says that another process holds a lab's lock.
var ErrBusy = errors.New("another lab command is working on it")

// Lock keeps other processes from changing a lab. The kernel drops it when its holder dies.
type Lock struct {
	lab  string
	file *os.File
}

// Acquire locks a lab; it waits for another holder, or returns ErrBusy.
func Acquire(ctx context.Context, lab string, wait bool) (*Lock, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	for {
		lock, err := try(lab)
		if err == nil || !errors.Is(err, ErrBusy) || !wait {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Busy reports whether a process is changing a lab.
func Busy(lab string) bool {
	if _, err := os.Stat(folder(lab)); err != nil {
		return false
	}
	lock, err := try(lab)
	if err == nil {
		lock.Release()
	}
	return errors.Is(err, ErrBusy)
}

func try(lab string) (*Lock, error) {
	path := filepath.Join(folder(lab), "lock")
	for {
		if err := os.MkdirAll(folder(lab), 0o755); err != nil {
			return nil, fmt.Errorf("lab %s: %w", lab, err)
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if errors.Is(err, os.ErrNotExist) {
			continue // a down removed the folder in between
		}
		if err != nil {
			return nil, fmt.Errorf("lab %s: %w", lab, err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("lab %s: %w", lab, ErrBusy)
			}
			return nil, fmt.Errorf("lab %s: locking %s: %w", lab, path, err)
		}
		// The file may have been removed by the holder before; then somebody else can lock its successor.
		held, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(held, now) {
			return &Lock{lab, f}, nil
		}
		f.Close()
	}
}

// Release gives the lock back.
func (l *Lock) Release() error { return l.file.Close() }

// Record is what a running lab was made from, so that it can be planned again by its name.
type Record struct {
	Schema   int                                `json:"schema"`
	Instance string                             `json:"instance"`
	File     string                             `json:"file"`
	Source   string                             `json:"source"`
	Vars     map[string]string                  `json:"vars"`
	Values   string                             `json:"values,omitempty"`
	Texts    map[string]string                  `json:"texts,omitempty"`
	Mode     string                             `json:"mode"`
	Proxy    string                             `json:"proxy,omitempty"`
	Impair   plan.Impairments                   `json:"impair,omitempty"` // of single links, since the lab was built
	Names    Names                              `json:"names"`
	Nearby   map[string]map[string][]netip.Addr `json:"nearby,omitempty"` // names that only those in a namespace know
	Shared   map[string]string                  `json:"shared,omitempty"` // whose namespaces the pods are in that have none of their own
	Tool     string                             `json:"tool"`
	Saved    time.Time                          `json:"saved"`
}

// NamesIn returns the names as they are known in a namespace.
func (r *Record) NamesIn(namespace string) Names {
	near := r.Nearby[namespace]
	if len(near) == 0 {
		return r.Names
	}
	all := maps.Clone(r.Names)
	maps.Copy(all, near)
	return all
}

// Names are the addresses of a lab's machines and pods, as its programs see them.
type Names map[string][]netip.Addr

const (
	recordSchema = 1
	recordName   = "definition.json"
)

// Save writes the record; a reader sees the old one or the new one whole.
func (l *Lock) Save(r Record) error {
	r.Schema, r.Saved = recordSchema, time.Now()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := Keep(l.lab, recordName, text); err != nil {
		return fmt.Errorf("recording its definition: %w", err)
	}
	return nil
}

// Forget removes what was kept, when nothing was built.
func (l *Lock) Forget() error { return os.RemoveAll(folder(l.lab)) }

// Load reads what a lab was made from. A record of another version of lab is taken for what this one understands of it.
func Load(lab string) (*Record, error) {
	text, err := Kept(lab, recordName)
	if err != nil {
		return nil, err
	}
	r := &Record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("the record of lab %s is damaged: %w", lab, err)
	}
	return r, nil
}
