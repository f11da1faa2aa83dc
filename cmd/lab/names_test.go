package main

import (
	"strings"
	"testing"
)

// TestNamesNearby: pods on a bridge of their node know one another by name alone, in commands and in containers, and nobody else
// does.
func TestNamesNearby(t *testing.T) {
	needRoot(t)
	const name = "faults-nearby"
	must(t, "up", "docker-networks", "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	hosts := func(of string) string { return must(t, "exec", "-l", name, of, "--", "cat", "/etc/hosts") }
	for of, knows := range map[string]bool{"docker/api": true, "docker/db": true, "docker/web": false, "docker": false, "outside": false, "docker/batch": false, "docker/batch:job": false} {
		text := hosts(of)
		if got := strings.Contains(text, "172.18.0.2\tdb\n") && strings.Contains(text, "172.18.0.3\tapi\n"); got != knows {
			t.Errorf("%s knows db and api: %t\n%s", of, got, text)
		}
		if !strings.Contains(text, "172.18.0.2\tdb.docker\n") {
			t.Errorf("%s does not know db.docker", of)
		}
	}
}
