package bgp_test

import (
	"testing"
	"time"
)

// TestMesh: three nodes learn each other's blocks, in the form that the real daemons' routes have.
func TestMesh(t *testing.T) {
	f := newFabric(t, 3)
	var speakers []*process
	begin := time.Now()
	for i := 1; i <= 3; i++ {
		speakers = append(speakers, f.launch(node(i), mesh(i, 3)))
	}
	for i := 1; i <= 3; i++ {
		f.learns(node(i), 15*time.Second, viaAll(3, i)...)
	}
	t.Logf("3 nodes converged in %v", time.Since(begin).Round(10*time.Millisecond))
	for _, p := range speakers {
		p.ready()
		all, own := p.rss()
		t.Logf("%s: %+v, %.1f MB, %.1f its own", p.ns, p.status(), all, own)
	}
}
