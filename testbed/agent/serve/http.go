package serve

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

const (
	mostBytes = 1 << 30
	mostWait  = time.Minute
)

// http listens on a port for requests over TCP, of either family, or at one address.
func (s *spot) http(address, port string) error {
	l, err := net.Listen("tcp", net.JoinHostPort(address, port))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(s.respond),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, portKey{}, port)
		},
	}
	s.ends = append(s.ends, server, l)
	go func() { _ = server.Serve(l) }() // it ends when it is closed
	return nil
}

type portKey struct{}

// respond answers a request: /bytes?n=1000 with so many bytes, /slow?ms=500 after so long, and any other at once.
func (s *spot) respond(w http.ResponseWriter, r *http.Request) {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	from := client.Addr().Unmap()
	s.answered.Add(1)
	s.log.Printf("%s tcp/%s %s %s %s", s.Title, r.Context().Value(portKey{}), from, r.Method, r.URL)
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	switch r.URL.Path {
	case "/bytes":
		n, err := parameter(r, "n", 1024, mostBytes)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		header.Set("Content-Type", "application/octet-stream")
		header.Set("Content-Length", strconv.Itoa(n))
		if r.Method != http.MethodHead {
			_, _ = io.CopyN(w, pattern{}, int64(n)) // a client that goes has had enough
		}
		return
	case "/slow":
		ms, err := parameter(r, "ms", 1000, int(mostWait.Milliseconds()))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
	_, _ = io.WriteString(w, s.answer(from))
}

// parameter reads a number of the query.
func parameter(r *http.Request, name string, otherwise, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s must be a number from 0 to %d", name, most)
	}
	return n, nil
}

// pattern is an endless text.
type pattern struct{}

func (pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return len(b), nil
}
