package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"labnet/testbed/traffic"
)

// The engines: what makes the load.
const (
	ours   = "lab"
	iperf3 = "iperf3" // an independent witness, where it is installed
)

// Engines lists them.
var Engines = []string{ours, iperf3}

// witnessed confines a comparison to what iperf3 can measure.
func (c *Config) witnessed() error {
	if _, err := exec.LookPath(iperf3); err != nil {
		return fmt.Errorf("--engine iperf3: it is not installed (apt install iperf3)")
	}
	if len(c.Measures) == 0 {
		c.Measures = []string{"tcp-stream"}
	}
	if !slices.Equal(c.Measures, []string{"tcp-stream"}) {
		return fmt.Errorf("--engine iperf3 measures tcp-stream only, not %s", strings.Join(c.Measures, ", "))
	}
	return nil
}

// iperf3 measures a stream with processes of iperf3 at both ends.
func (r *run) iperf3(s *subject, way route, x cell) func(context.Context, traffic.Config) (taken, error) {
	return func(ctx context.Context, cfg traffic.Config) (taken, error) {
		const port = "5201"
		ctx, cancel := context.WithTimeout(ctx, cfg.Takes()+10*time.Second)
		defer cancel()
		// A process begins on the thread that makes it, and so in that thread's namespace.
		server := exec.CommandContext(ctx, iperf3, "--server", "--one-off", "--port", port, "--bind", way.to.Address.String(), "--forceflush")
		var said bytes.Buffer
		server.Stdout, server.Stderr = &said, &said
		if err := s.places[way.to.Namespace].Do(server.Start); err != nil {
			return taken{}, fmt.Errorf("iperf3 server: %w", err)
		}
		defer func() {
			cancel()
			_ = server.Wait()
		}()
		args := []string{"--client", way.to.Address.String(), "--port", port, "--bind", way.from.Address.String(), "--congestion", cfg.Congestion,
			"--omit", seconds(cfg.Warmup), "--time", seconds(cfg.Window), "--json"}
		for word := range strings.FieldsSeq(x.params) {
			if n, ok := strings.CutPrefix(word, "streams="); ok {
				args = append(args, "--parallel", n)
			}
			switch word {
			case "reverse":
				args = append(args, "--reverse")
			case "both":
				args = append(args, "--bidir")
			}
		}
		if r.client != traffic.Unpinned {
			args = append(args, "--affinity", fmt.Sprintf("%d,%d", r.client, r.server))
		}
		var answer struct {
			Error string
			End   struct {
				Sent     struct{ Retransmits int }        `json:"sum_sent"`
				Received struct{ Bytes, Seconds float64 } `json:"sum_received"`
				Back     struct{ Bytes, Seconds float64 } `json:"sum_received_bidir_reverse"`
				Used     string                           `json:"sender_tcp_congestion"`
			}
			Start struct {
				MSS int `json:"tcp_mss_default"`
			}
		}
		for try := 0; ; try++ {
			var out bytes.Buffer
			client := exec.CommandContext(ctx, iperf3, args...)
			client.Stdout = &out
			err := s.places[way.from.Namespace].Do(client.Start)
			if err == nil {
				err = client.Wait()
			}
			if bad := json.Unmarshal(out.Bytes(), &answer); bad != nil {
				return taken{}, errors.Join(err, bad)
			}
			if answer.Error == "" {
				break
			}
			if try == 20 || !strings.Contains(answer.Error, "refused") {
				return taken{}, fmt.Errorf("iperf3: %s; its server said: %s", answer.Error, said.String())
			}
			time.Sleep(20 * time.Millisecond) // the server has not opened its port yet
			answer.Error = ""
		}
		gbit := (answer.End.Received.Bytes + answer.End.Back.Bytes) * 8 / 1e9
		return taken{
			readings: []measured{inItsUnit("goodput", gbit/answer.End.Received.Seconds)},
			socket:   traffic.Socket{Congestion: answer.End.Used, MSS: answer.Start.MSS, Retransmits: answer.End.Sent.Retransmits},
		}, nil
	}
}

// seconds are whole for iperf3, and at least one.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(d.Round(time.Second).Seconds())))
}
