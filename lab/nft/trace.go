package nft

// Trace is one step of a packet that a rule marked with "meta nftrace set 1".
type Trace struct {
	ID      uint32 // of the packet, as long as it does not come in by another device
	Family  Family
	Table   string
	Chain   string
	Rule    uint64 // the handle of the rule that matched
	Verdict string // … as nft(8) writes it: accept, goto services, continue
	Policy  string // of the chain, where no rule decided. With neither, the chain has come to its end.
	Mark    uint32
	In, Out uint32 // index of the device; this and the headers are told with the first step of a hook
	Link    []byte
	Network []byte
	Packet  []byte // what follows the network's header
}

// ParseTrace reads an event that is a TraceEvent.
func ParseTrace(f Family, b []byte) (Trace, error) {
	a, err := parse[struct {
		Table   string   `nft:"1"`
		Chain   string   `nft:"2"`
		Rule    uint64   `nft:"3"`
		Verdict *Verdict `nft:"5"`
		ID      uint32   `nft:"6"`
		Link    []byte   `nft:"7"`
		Network []byte   `nft:"8"`
		Packet  []byte   `nft:"9"`
		In      uint32   `nft:"10"`
		Out     uint32   `nft:"12"`
		Mark    uint32   `nft:"14"`
		Policy  *int32   `nft:"16"`
	}](b)
	t := Trace{
		ID: a.ID, Family: f, Table: a.Table, Chain: a.Chain, Rule: a.Rule,
		In: a.In, Out: a.Out, Mark: a.Mark, Link: a.Link, Network: a.Network, Packet: a.Packet,
	}
	if a.Verdict != nil {
		t.Verdict = a.Verdict.String()
	}
	if a.Policy != nil {
		t.Policy = Verdict{Code: *a.Policy}.String()
	}
	return t, err
}
