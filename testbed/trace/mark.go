package trace

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"

	"labnet/lab/packet"
	"labnet/lab/trace"
)

// tailLen is how much of a packet's end is looked at.
const tailLen = 16

// mark is what the probe of one trace is known by, wherever it is and whatever is put around it: encapsulation comes in
// front, NAT changes headers, and an error message quotes the packet, so that its end stays what it was.
type mark struct {
	cookie [8]byte
	tcp    bool   // its answers are known by the number that they acknowledge
	answer []byte // how a program's answer ends: tailLen bytes; nil: lab itself answers, or nothing is known of it
}

func newMark(tcp bool) mark {
	m := mark{tcp: tcp}
	_, _ = rand.Read(m.cookie[:]) // it does not fail
	return m
}

// sequence is the probe's number in TCP.
func (m mark) sequence() uint32 { return binary.BigEndian.Uint32(m.cookie[:]) }

// synAck is what an answer acknowledges that takes the connection: the SYN alone.
func (m mark) synAck() [4]byte { return m.ack(1) }

// reset is what one that refuses it does: also what came with the SYN.
func (m mark) reset() [4]byte { return m.ack(1 + tailLen) }

func (m mark) ack(n uint32) (b [4]byte) {
	binary.BigEndian.PutUint32(b[:], m.sequence()+n)
	return b
}

// payload fills a packet behind its IP header with the cookie, again and again, so that each of its fragments ends with it;
// header bytes in front are left to the protocol's own. The last 16 bytes are the cookie twice, or for an answer once and
// then its complement.
func (m mark) payload(length, header int, answer bool) []byte {
	b := make([]byte, length)
	for i := range b {
		b[i] = m.cookie[i%len(m.cookie)]
	}
	tail := b[length-tailLen:]
	copy(tail, m.cookie[:])
	copy(tail[8:], m.cookie[:])
	if answer {
		for i := range 8 {
			tail[8+i] ^= 0xff
		}
	}
	return b[header:]
}

// role tells what a marked packet is, by its headers and its end.
func (m mark) role(frame []byte, headers []packet.Header, tail []byte) trace.Role {
	at := 0
	for _, h := range headers {
		if at < len(frame) {
			switch kind := frame[at]; {
			case h.Protocol == "icmp" && kind == echoReply, h.Protocol == "icmpv6" && kind == echoReply6:
				return trace.Answer
			case h.Protocol == "icmp" && kind != echoRequest, h.Protocol == "icmpv6" && kind != echoRequest6:
				return trace.Message
			}
		}
		at += h.Bytes
	}
	if bytes.HasPrefix(tail, m.cookie[:]) && (bytes.HasSuffix(tail, m.cookie[:])) {
		return trace.Probe
	}
	return trace.Answer
}

// Types of ICMP and of ICMPv6.
const (
	echoReply, echoRequest   = 0, 8
	echoRequest6, echoReply6 = 128, 129
)
