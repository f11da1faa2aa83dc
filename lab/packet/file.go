package packet

import (
	"bufio"
	"encoding/binary"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// About is what the head of a file of packets says.
type About struct {
	Program string // that writes it
	Comment string
	Names   map[netip.Addr]string // that Wireshark shows for addresses
}

// Interface is where packets of a file were seen.
type Interface struct {
	Name        string // worker1/flannel.1
	Description string
	Filter      string
	Bare        bool // packets begin with the IP header
	SnapLen     int
}

// File writes packets as pcapng, which tcpdump and Wireshark read.
type File struct {
	to    *bufio.Writer
	ng    *pcapgo.NgWriter
	known map[Interface]int
}

// NewFile writes the head of a file: what it is about, its first interface and the names.
func NewFile(w io.Writer, about About, first Interface, others ...Interface) (*File, error) {
	f := &File{to: bufio.NewWriterSize(w, 64<<10), known: map[Interface]int{first: 0}}
	var err error
	f.ng, err = pcapgo.NewNgWriterInterface(f.to, first.block(), pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{OS: "Linux", Application: about.Program, Comment: about.Comment},
	})
	for _, i := range others {
		if err == nil {
			_, err = f.at(i)
		}
	}
	if err == nil && len(about.Names) > 0 {
		if err = f.ng.Flush(); err == nil {
			_, err = f.to.Write(names(about.Names))
		}
	}
	return f, err
}

func (i Interface) block() pcapgo.NgInterface {
	link := layers.LinkTypeEthernet
	if i.Bare {
		link = layers.LinkTypeRaw
	}
	return pcapgo.NgInterface{Name: i.Name, Description: i.Description, Filter: i.Filter, LinkType: link, SnapLength: uint32(i.SnapLen), OS: "Linux"}
}

// at is the number of an interface in the file, which is told of it if it has to be.
func (f *File) at(i Interface) (int, error) {
	n, ok := f.known[i]
	if !ok {
		var err error
		if n, err = f.ng.AddInterface(i.block()); err != nil {
			return 0, err
		}
		f.known[i] = n
	}
	return n, nil
}

// Write writes a packet; length is that of the whole, of which data may be the beginning.
func (f *File) Write(i Interface, when time.Time, out bool, data []byte, length int, comments ...string) error {
	n, err := f.at(i)
	if err != nil {
		return err
	}
	flags := &pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionInbound}
	if out {
		flags.Direction = pcapgo.NgEpbFlagDirectionOutbound
	}
	info := gopacket.CaptureInfo{Timestamp: when, CaptureLength: len(data), Length: max(length, len(data)), InterfaceIndex: n}
	return f.ng.WritePacketWithOptions(info, data, pcapgo.NgPacketOptions{Comments: comments, Flags: flags})
}

// Lost writes how many packets were seen at all of the interfaces and how many were missed. The kernel counts both for several
// interfaces together, so that the numbers stand at the first one.
func (f *File) Lost(seen, lost uint64, at time.Time) error {
	return f.ng.WriteInterfaceStats(0, pcapgo.NgInterfaceStatistics{LastUpdate: at, EndTime: at, PacketsReceived: seen, PacketsDropped: lost})
}

// Flush writes out what was kept back.
func (f *File) Flush() error {
	if err := f.ng.Flush(); err != nil {
		return err
	}
	return f.to.Flush()
}

// names is a name resolution block, which gopacket does not write.
func names(all map[netip.Addr]string) []byte {
	const block, end, ipv4, ipv6 = 4, 0, 1, 2
	little := binary.LittleEndian
	var body []byte
	for _, a := range slices.SortedFunc(maps.Keys(all), netip.Addr.Compare) {
		kind := uint16(ipv4)
		if a.Is6() {
			kind = ipv6
		}
		value := append(append(a.AsSlice(), all[a]...), 0)
		body = little.AppendUint16(body, kind)
		body = little.AppendUint16(body, uint16(len(value)))
		body = append(body, value...)
		body = append(body, make([]byte, -len(value)&3)...)
	}
	body = little.AppendUint32(body, end)
	size := uint32(12 + len(body))
	b := little.AppendUint32(little.AppendUint32(nil, block), size)
	return little.AppendUint32(append(b, body...), size)
}
