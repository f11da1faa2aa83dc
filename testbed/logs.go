package testbed

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"labnet/lab/plan"
)

// Log is what an agent writes, or something else that works in a machine or a pod.
type Log struct {
	Target string // node1, node1/p1
	Name   string // of the agent
	Path   string
}

const logSuffix = ".log"

// Logs lists the logs of a lab.
func Logs(lab string) ([]Log, error) {
	entries, err := os.ReadDir(folder(lab))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var logs []Log
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), logSuffix)
		dot := strings.LastIndexByte(base, '.')
		if !ok || dot < 0 {
			continue
		}
		logs = append(logs, Log{strings.ReplaceAll(base[:dot], ".", "/"), base[dot+1:], filepath.Join(folder(lab), e.Name())})
	}
	slices.SortFunc(logs, func(a, b Log) int { return cmp.Or(plan.Natural(a.Target, b.Target), plan.Natural(a.Name, b.Name)) })
	return logs, nil
}
