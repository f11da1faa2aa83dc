package nft

import "testing"

// TestContentsAreKnown: what is in a set is known by its mark alone where nobody may change it, and it is a rule's own.
func TestContentsAreKnown(t *testing.T) {
	inline := NewInline(Set{KeyType: 13, KeyLen: 2}, []Element{{Key: "\x00\x50\x00\x00"}, {Key: "\x01\xbb\x00\x00"}})
	k := &Known{}
	k.Know(Rule{Family: IPv4, Table: "nat", Chain: "prerouting", Exprs: Pack(Lookup{Inline: inline})}, 0)
	mark := inline.Contents().mark()
	for _, tt := range []struct {
		what string
		set  Set
		ok   bool
	}{
		{"a rule's own", Set{Flags: Anonymous | Constant, Mark: mark}, true},
		{"a map", Set{Flags: Anonymous | Constant | Map, Mark: mark}, true},
		{"one that has a name", Set{Flags: Constant, Mark: mark}, false},
		{"one that may be changed", Set{Flags: Anonymous, Mark: mark}, false},
		{"one without a mark", Set{Flags: Anonymous | Constant}, false},
		{"another", Set{Flags: Anonymous | Constant, Mark: "another"}, false},
	} {
		contents, ok := k.Of(tt.set)
		if ok != tt.ok || ok && contents != inline.Contents() {
			t.Errorf("%s: known %v: %q", tt.what, ok, contents)
		}
	}
}
