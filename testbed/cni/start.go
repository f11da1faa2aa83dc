package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"
)

// Start prepares a plugin to run in a node. Its process has [Begun] open until it becomes the plugin.
type Start func(plugin, files string) (*exec.Cmd, error)

// Begun is the file that a process closes by becoming the plugin.
const Begun = 3

// starter starts plugins for libcni.
type starter struct {
	version.PluginDecoder
	start   Start
	files   string // the folder with those that plugins find in the node; empty: none
	timeout time.Duration
	title   string        // of the pod
	last    string        // the plugin that was started last
	stderr  string        // what it said there
	why     error         // why it has no answer
	worked  time.Duration // all of them, from when each had been started in its node
}

// ErrTimeout says that a plugin has been ended because it did not end by itself.
var ErrTimeout = errors.New("it did not end")

const longest = 4 << 20 // bytes of an answer

func (s *starter) FindInPath(plugin string, path []string) (string, error) {
	s.last, s.stderr, s.why = plugin, "", nil
	if file := find(plugin, path); file != "" {
		return file, nil
	}
	return "", fmt.Errorf("there is no such executable in %s", strings.Join(path, ", "))
}

// ExecPlugin runs a plugin, and ends with it all that it has started.
func (s *starter) ExecPlugin(ctx context.Context, path string, config []byte, env []string) ([]byte, error) {
	s.last, s.stderr, s.why = filepath.Base(path), "", nil
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	cmd, err := s.start(path, s.files)
	if err != nil {
		return nil, err
	}
	answer, said := &limited{}, &limited{}
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = env, bytes.NewReader(config), answer, said, "/"
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	cmd.WaitDelay = time.Second
	begins, begun, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer begins.Close()
	cmd.ExtraFiles = []*os.File{begun}
	err = cmd.Start()
	begun.Close()
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
		_, _ = begins.Read(make([]byte, 1))
		from := time.Now()
		err = cmd.Wait()
		s.worked += time.Since(from)
		stop()
	}
	s.stderr = strings.TrimSpace(said.String())
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		s.why = fmt.Errorf("%w within %v", ErrTimeout, s.timeout)
	case ctx.Err() != nil:
		s.why = ctx.Err()
	case err != nil:
		s.why = s.refusal(err, answer.Bytes())
	case answer.over:
		s.why = fmt.Errorf("it printed more than %d bytes", longest)
	case len(bytes.TrimSpace(answer.Bytes())) > 0 && !json.Valid(answer.Bytes()):
		s.why = fmt.Errorf("it printed %q, which is not JSON", short(answer.String()))
	}
	return answer.Bytes(), s.why
}

// refusal is what a plugin says that has ended with an error.
func (s *starter) refusal(err error, answer []byte) error {
	var said types.Error
	if json.Unmarshal(answer, &said) == nil && said.Msg != "" {
		text := said.Msg
		if said.Details != "" {
			text += "; " + said.Details
		}
		return fmt.Errorf("%s (code %d)", text, said.Code)
	}
	if text := strings.TrimSpace(string(answer)); text != "" {
		return fmt.Errorf("it ended with %w, and printed %q", err, short(text))
	}
	return fmt.Errorf("it ended with %w", err)
}

// explain says which plugin failed, for which pod, with what it said besides.
func (s *starter) explain(command string, err error) error {
	if err == nil {
		return nil
	}
	if s.why != nil {
		err = s.why
	}
	text := ""
	if s.stderr != "" {
		text = fmt.Sprintf("\nits standard error: %s", short(s.stderr))
	}
	return fmt.Errorf("plugin %s, %s for %s: %w%s", s.last, command, s.title, err, text)
}

func short(text string) string {
	if r := []rune(text); len(r) > 500 {
		return string(r[:500]) + "…"
	}
	return text
}

// limited keeps the beginning of what is written.
type limited struct {
	bytes.Buffer
	over bool
}

func (l *limited) Write(b []byte) (int, error) {
	if room := longest - l.Len(); len(b) > room {
		l.over = true
		l.Buffer.Write(b[:max(room, 0)])
		return len(b), nil
	}
	return l.Buffer.Write(b)
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
