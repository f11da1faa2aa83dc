package bgp

import (
	"context"
	"log/slog"
	"slices"

	gobgplog "github.com/osrg/gobgp/v3/pkg/log"
)

// library makes a log of GoBGP's. It is one level quieter than ours, for it tells at Warn what is everyday life: a connection
// that came too early, a peer that went away.
type library struct{ *slog.Logger }

func (l library) log(level slog.Level, msg string, fields gobgplog.Fields) {
	if !l.Enabled(context.Background(), level) {
		return
	}
	var args []any
	for k, v := range fields {
		args = append(args, slog.Any(k, v))
	}
	slices.SortFunc(args, func(a, b any) int {
		if a.(slog.Attr).Key < b.(slog.Attr).Key {
			return -1
		}
		return 1
	})
	l.Log(context.Background(), level, msg, args...)
}

func (l library) Panic(msg string, f gobgplog.Fields) { l.log(slog.LevelError, msg, f) }
func (l library) Fatal(msg string, f gobgplog.Fields) { l.log(slog.LevelError, msg, f) }
func (l library) Error(msg string, f gobgplog.Fields) { l.log(slog.LevelError, msg, f) }
func (l library) Warn(msg string, f gobgplog.Fields)  { l.log(slog.LevelDebug, msg, f) }
func (l library) Info(msg string, f gobgplog.Fields)  { l.log(slog.LevelDebug, msg, f) }
func (l library) Debug(msg string, f gobgplog.Fields) { l.log(slog.LevelDebug-4, msg, f) }
func (l library) SetLevel(gobgplog.LogLevel)          {}
func (l library) GetLevel() gobgplog.LogLevel {
	if l.Enabled(context.Background(), slog.LevelDebug-4) {
		return gobgplog.DebugLevel
	}
	return gobgplog.WarnLevel
}
