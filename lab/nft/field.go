package nft

// field is what a rule looks at, by the name that nft(8) gives it: bytes of a header, or what the kernel knows of the packet.
type field struct {
	words  string
	kind   byte // payload, meta or ct
	base   uint32
	offset uint32 // in bytes
	key    uint32 // of meta and ct
	dir    int    // of ct: original, reply, or none
	typ    *datatype
	length int
	proto  string // the header it is in
	mask   byte   // where it is a part of a byte
}

const (
	inPayload = iota
	inMeta
	inCT
)

const (
	linkHeader      = 0
	networkHeader   = 1
	transportHeader = 2
)

const (
	metaLen     = 0
	metaMark    = 3
	metaIifname = 6
	metaOifname = 7
	metaIiftype = 8
	metaTrace   = 12
	metaNfproto = 15
	metaProto   = 1
	metaL4Proto = 16
)

const noDir = -1

func inHeader(proto string, base uint32, names ...field) []field {
	for i := range names {
		names[i].proto, names[i].base = proto, base
		names[i].words = proto + " " + names[i].words
		if names[i].length == 0 {
			names[i].length = names[i].typ.size
		}
	}
	return names
}

func meta(words string, key uint32, t *datatype, length int) field {
	return field{words: words, kind: inMeta, key: key, typ: t, length: length, dir: noDir}
}

func ct(words string, key uint32, dir int, t *datatype, length int) field {
	return field{words: words, kind: inCT, key: key, typ: t, length: length, dir: dir}
}

func at(words string, offset uint32, t *datatype) field {
	return field{words: words, offset: offset, typ: t, length: t.size}
}

func number(words string, offset uint32, length int) field {
	return field{words: words, offset: offset, typ: typeInteger, length: length}
}

func part(words string, offset uint32, mask byte, t *datatype) field {
	return field{words: words, offset: offset, typ: t, length: 1, mask: mask}
}

var fields = join(
	inHeader("ether", linkHeader, at("daddr", 0, typeMAC), at("saddr", 6, typeMAC), at("type", 12, typeEther)),
	inHeader("ip", networkHeader,
		part("version", 0, 0xf0, typeInteger), part("hdrlength", 0, 0x0f, typeInteger), part("dscp", 1, 0xfc, typeDSCP), part("ecn", 1, 0x03, typeECN),
		number("length", 2, 2), number("id", 4, 2), number("frag-off", 6, 2), number("ttl", 8, 1), at("protocol", 9, typeProto), number("checksum", 10, 2),
		at("saddr", 12, typeIPv4), at("daddr", 16, typeIPv4)),
	inHeader("ip6", networkHeader,
		number("length", 4, 2), at("nexthdr", 6, typeProto), number("hoplimit", 7, 1), at("saddr", 8, typeIPv6), at("daddr", 24, typeIPv6)),
	inHeader("arp", networkHeader,
		number("htype", 0, 2), at("ptype", 2, typeEther), number("hlen", 4, 1), number("plen", 5, 1), at("operation", 6, typeARPOp),
		at("saddr ether", 8, typeMAC), at("saddr ip", 14, typeIPv4), at("daddr ether", 18, typeMAC), at("daddr ip", 24, typeIPv4)),
	inHeader("tcp", transportHeader,
		at("sport", 0, typePort), at("dport", 2, typePort), number("sequence", 4, 4), number("ackseq", 8, 4), at("flags", 13, typeTCPFlag),
		number("window", 14, 2), number("checksum", 16, 2), number("urgptr", 18, 2)),
	inHeader("udp", transportHeader, at("sport", 0, typePort), at("dport", 2, typePort), number("length", 4, 2), number("checksum", 6, 2)),
	inHeader("sctp", transportHeader, at("sport", 0, typePort), at("dport", 2, typePort), number("vtag", 4, 4)),
	inHeader("icmp", transportHeader, at("type", 0, typeICMP), number("code", 1, 1), number("checksum", 2, 2), number("id", 4, 2), number("sequence", 6, 2)),
	inHeader("icmpv6", transportHeader, at("type", 0, typeICMPv6), number("code", 1, 1), number("checksum", 2, 2), number("id", 4, 2), number("sequence", 6, 2)),
	inHeader("th", transportHeader, at("sport", 0, typePort), at("dport", 2, typePort)),
	[]field{
		meta("meta length", metaLen, typeHost, 4), meta("meta protocol", metaProto, typeEther, 2), meta("meta priority", 2, typeClass, 4),
		meta("meta mark", metaMark, typeMark, 4), meta("iif", 4, typeIfindex, 4), meta("oif", 5, typeIfindex, 4),
		meta("iifname", metaIifname, typeIfname, 16), meta("oifname", metaOifname, typeIfname, 16), meta("meta iiftype", 8, typeIftype, 2),
		meta("meta oiftype", 9, typeIftype, 2), meta("meta skuid", 10, typeUID, 4), meta("meta skgid", 11, typeGID, 4), meta("meta nftrace", 12, typeHost, 1),
		meta("meta rtclassid", 13, typeRealm, 4), meta("meta nfproto", metaNfproto, typeProto3, 1), meta("meta l4proto", metaL4Proto, typeProto, 1),
		meta("meta ibrname", 17, typeIfname, 16), meta("meta obrname", 18, typeIfname, 16), meta("meta pkttype", 19, typePkttype, 1),
		meta("meta cpu", 20, typeHost, 4), meta("iifgroup", 21, typeGroup, 4), meta("oifgroup", 22, typeGroup, 4), meta("meta cgroup", 23, typeHost, 4),
		meta("meta random", 24, typeInteger, 4), meta("meta iifkind", 26, typeIfname, 16), meta("meta oifkind", 27, typeIfname, 16),
		ct("ct state", 0, noDir, typeState, 4), ct("ct direction", 1, noDir, typeCTDir, 1), ct("ct status", 2, noDir, typeStatus, 4),
		ct("ct mark", 3, noDir, typeMark, 4), ct("ct expiration", 5, noDir, typeTime, 4), ct("ct helper", 6, noDir, typeString, 16),
		ct("ct l3proto", 7, noDir, typeProto3, 1), ct("ct protocol", 10, noDir, typeProto, 1), ct("ct bytes", 15, noDir, typeHost, 8),
		ct("ct packets", 14, noDir, typeHost, 8), ct("ct avgpkt", 16, noDir, typeHost, 8), ct("ct zone", 17, noDir, typeHost, 2), ct("ct id", 23, noDir, typeInteger, 4),
	},
	directed("original", 0), directed("reply", 1),
)

// directed are the fields of one direction of a connection.
func directed(name string, dir int) []field {
	name = "ct " + name + " "
	return []field{
		ct(name+"ip saddr", 19, dir, typeIPv4, 4), ct(name+"ip daddr", 20, dir, typeIPv4, 4), ct(name+"ip6 saddr", 21, dir, typeIPv6, 16),
		ct(name+"ip6 daddr", 22, dir, typeIPv6, 16), ct(name+"l3proto", 7, dir, typeProto3, 1), ct(name+"protocol", 10, dir, typeProto, 1),
		ct(name+"proto-src", 11, dir, typePort, 2), ct(name+"proto-dst", 12, dir, typePort, 2), ct(name+"bytes", 15, dir, typeHost, 8),
		ct(name+"packets", 14, dir, typeHost, 8), ct(name+"avgpkt", 16, dir, typeHost, 8), ct(name+"zone", 17, dir, typeHost, 2),
	}
}

func join(lists ...[]field) []field {
	var all []field
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// transports are the headers by the protocol that says which it is.
var transports = map[byte]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}

// networks are the headers by EtherType.
var networks = map[uint16]string{0x800: "ip", 0x806: "arp", 0x86dd: "ip6"}
