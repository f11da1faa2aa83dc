// Package agent holds the processes that work in a node for as long as a lab is up. Each is this program again, started in
// the node's namespace, found by its socket there and ended by "lab down"; one whose namespace has lost its name ends itself.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/agent/bgp"
	"labnet/testbed/agent/serve"
	"labnet/testbed/agent/supervise"
	"labnet/testbed/agent/udp"
)

// agent is what an agent can do. Run calls ready once it works, and returns when ctx is done. Status is a JSON object, with a
// "summary" for people, and "settled" once there is nothing more to wait for.
type agent interface {
	Run(ctx context.Context, ready func()) error
	Status() any
}

// kinds makes agents by name, from their configuration.
var kinds = map[string]func(config []byte, namespace string) (agent, error){
	"udp":                func(config []byte, _ string) (agent, error) { return udp.New(config) },
	"bgp":                speaker,
	plan.SupervisorAgent: func(config []byte, namespace string) (agent, error) { return supervise.New(config, namespace) },
	plan.ResponderAgent:  func(config []byte, namespace string) (agent, error) { return serve.New(config, namespace) },
}

func speaker(config []byte, _ string) (agent, error) {
	var c bgp.Config
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	s, err := bgp.New(c, slog.Default())
	if err != nil {
		return nil, err
	}
	return bgpAgent{s}, nil
}

type bgpAgent struct{ *bgp.Speaker }

func (a bgpAgent) Status() any { return a.Speaker.Status() }

// Main is the process of an agent: lab __agent NAMESPACE NAME FINGERPRINT, its configuration on standard input.
func Main(args []string) int {
	log.SetFlags(log.Ldate | log.Lmicroseconds)
	if len(args) != 3 {
		fmt.Fprintln(os.Stderr, "lab: this is for lab itself to call")
		return 2
	}
	if err := work(args[0], args[1], args[2]); err != nil {
		log.Print(err)
		testbed.AgentReady(err)
		return 1
	}
	log.Print("ended")
	return 0
}

func work(namespace, name, started string) error {
	// The socket comes first: what can be found can be ended.
	socket, err := testbed.AgentSocket(name, started)
	if err != nil {
		return err
	}
	defer socket.Close()
	home, err := testbed.Home(namespace)
	if err != nil {
		return err
	}
	defer home.Close()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go stay(ctx, end, home)
	config, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	prefix, _, _ := strings.Cut(name, ":")
	kind, ok := kinds[prefix]
	if !ok {
		return fmt.Errorf("there is no agent %q", name)
	}
	a, err := kind(config, namespace)
	if err != nil {
		return fmt.Errorf("its configuration: %w", err)
	}
	go answer(socket, a)
	log.Printf("agent %s of %s starts, process %d", name, namespace, os.Getpid())
	err = a.Run(ctx, func() {
		log.Print("ready")
		testbed.AgentReady(nil)
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		log.Print(cause)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// stay ends the agent when the name no longer leads to the namespace that it is in.
func stay(ctx context.Context, end context.CancelCauseFunc, home *testbed.Place) {
	for {
		if !home.Leads() {
			end(fmt.Errorf("namespace %s is gone, and this agent with it", home.Name))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// answer serves the agent's status to every client that waits for it: others only want to know whose socket it is.
func answer(socket *net.UnixListener, a agent) {
	for {
		conn, err := socket.Accept()
		if err != nil {
			return
		}
		if gone(conn) {
			conn.Close()
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_ = json.NewEncoder(conn).Encode(a.Status()) // whoever has gone did not want to know
		conn.Close()
	}
}

// gone reports whether the other end is closed already.
func gone(conn net.Conn) bool {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = n == 0 && err == nil
	})
	return closed || err != nil
}
