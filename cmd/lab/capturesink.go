package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"labnet/lab/packet"
	"labnet/testbed/wire"
)

// sink is where captured packets go.
type sink interface {
	decodes() bool // whether it wants packets taken apart
	packet(at packet.Interface, r wire.Raw, p packet.Packet) error
	flush() error
	end(seen, lost uint64) error
}

func (c *command) sink(ask captured, most int64, filter, labName string, known *knowledge, spots []*spot) (sink, error) {
	about := packet.About{Program: "lab " + version(), Comment: "lab " + labName, Names: known.title}
	if known.plan != nil {
		about.Comment += " in mode " + known.plan.ModeName
	}
	about.Comment += ": lab " + strings.Join(c.args, " ")
	var interfaces []packet.Interface
	for _, s := range spots {
		interfaces = append(interfaces, s.interfaces()...)
	}
	file := &fileSink{about: about, snaplen: ask.snaplen, filter: filter, interfaces: interfaces, path: ask.path, most: most}
	switch {
	case ask.path == "-" && isTerminal(c.out):
		return nil, refuse("-w -: what is written is for a program, and this is a terminal; say -w FILE, or pipe it into wireshark -k -i -")
	case ask.path == "-":
		file.to = c.out
		return file, file.begin()
	case ask.path != "":
		return file, file.open()
	case c.json():
		to := bufio.NewWriter(c.out)
		encoder := json.NewEncoder(to)
		encoder.SetEscapeHTML(false)
		return jsonSink{to, encoder}, nil
	}
	wide := 0
	for _, i := range interfaces {
		wide = max(wide, utf8.RuneCountInString(i.Name))
	}
	return textSink{bufio.NewWriter(c.out), wide}, nil
}

// textSink writes a line for each packet.
type textSink struct {
	*bufio.Writer
	wide int
}

func (textSink) decodes() bool { return true }

func (s textSink) packet(at packet.Interface, r wire.Raw, p packet.Packet) error {
	way := "in "
	if r.Out {
		way = "out"
	}
	_, err := fmt.Fprintf(s, "%s %-*s %s %s\n", r.Time.Format("15:04:05.000000"), s.wide, at.Name, way, p.Line())
	return err
}

func (s textSink) flush() error          { return s.Flush() }
func (s textSink) end(_, _ uint64) error { return s.Flush() }

// jsonSink writes a document in a line for each packet.
type jsonSink struct {
	*bufio.Writer
	*json.Encoder
}

type packetDocument struct {
	Schema    int             `json:"schema"`
	Time      time.Time       `json:"time"`
	Machine   string          `json:"machine"`
	Device    string          `json:"device"`
	Direction string          `json:"direction"`
	Length    int             `json:"length"`
	Headers   []packet.Header `json:"headers"`
	Line      string          `json:"line"`
}

func (jsonSink) decodes() bool { return true }

func (s jsonSink) packet(at packet.Interface, r wire.Raw, p packet.Packet) error {
	i := strings.LastIndexByte(at.Name, '/')
	d := packetDocument{schema, r.Time, at.Name[:i], at.Name[i+1:], "in", r.Length, append([]packet.Header{}, p.Headers()...), p.Line()}
	if r.Out {
		d.Direction = "out"
	}
	return s.Encode(d)
}

func (s jsonSink) flush() error          { return s.Flush() }
func (s jsonSink) end(_, _ uint64) error { return s.Flush() }

// fileSink writes pcapng, to a file that may be begun anew.
type fileSink struct {
	about      packet.About
	interfaces []packet.Interface
	snaplen    int
	filter     string
	path       string
	most       int64

	to interface {
		Write([]byte) (int, error)
	}
	handle  *os.File
	file    *packet.File
	written int64
}

func (s *fileSink) open() error {
	f, err := os.Create(s.path)
	if err != nil {
		return err
	}
	s.handle, s.to, s.written = f, f, 0
	return s.begin()
}

func (s *fileSink) begin() (err error) {
	s.file, err = packet.NewFile(s, s.about, s.block(s.interfaces[0]), s.blocks(s.interfaces[1:])...)
	if err == nil {
		err = s.file.Flush()
	}
	return err
}

// Write counts what is written.
func (s *fileSink) Write(b []byte) (int, error) {
	n, err := s.to.Write(b)
	s.written += int64(n)
	return n, err
}

// block is an interface as the file describes it.
func (s *fileSink) block(i packet.Interface) packet.Interface {
	i.SnapLen, i.Filter = s.snaplen, s.filter
	return i
}

func (s *fileSink) blocks(all []packet.Interface) []packet.Interface {
	var blocks []packet.Interface
	for _, i := range all {
		blocks = append(blocks, s.block(i))
	}
	return blocks
}

func (*fileSink) decodes() bool { return false }

func (s *fileSink) packet(at packet.Interface, r wire.Raw, _ packet.Packet) error {
	if s.most > 0 && s.written+int64(len(r.Data)) > s.most {
		if err := errors.Join(s.file.Flush(), s.handle.Close(), os.Rename(s.path, s.path+".1")); err != nil {
			return err
		}
		if err := s.open(); err != nil {
			return err
		}
	}
	return s.file.Write(s.block(at), r.Time, r.Out, r.Data, r.Length)
}

func (s *fileSink) flush() error { return s.file.Flush() }

func (s *fileSink) end(seen, lost uint64) error {
	err := s.file.Lost(seen, lost, time.Now())
	err = errors.Join(err, s.file.Flush())
	if s.handle != nil {
		err = errors.Join(err, s.handle.Close())
	}
	return err
}
