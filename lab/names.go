package lab

import (
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// A name becomes part of a namespace's name, where a dot separates machine and pod, and it is a host name.
var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

const maxName = 63

func (l *loader) checkName(what, name string, at hcl.Range) bool {
	switch {
	case len(name) > maxName:
		l.errorf(at, "Name too long", "The name of a %s has at most %d characters; %s has %d.", what, maxName, shorten(name), len(name))
	case !validName.MatchString(name):
		l.errorf(at, "Invalid name", "%q cannot name a %s. A name has lower-case letters, digits and hyphens, and no hyphen first or last%s.", shorten(name), what, proposal(name))
	default:
		return true
	}
	return false
}

// proposal suggests the valid name that is nearest to what was written.
func proposal(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r == '_', r == '.', r == ' ', r == '/':
			return '-'
		}
		return -1
	}, strings.ToLower(shorten(name)))
	if name = strings.Trim(name, "-"); name == "" {
		return ""
	}
	return `: for example "` + name + `"`
}

func shorten(s string) string {
	if r := []rune(s); len(r) > maxName {
		return string(r[:maxName]) + "…"
	}
	return s
}

// Suggest ends a message about an unknown name: with the one that was probably meant, or else with the known ones.
func Suggest(given string, known []string, intro string) string {
	best, least := "", 3
	for _, k := range known[:min(len(known), 500)] {
		if d := distance(strings.ToLower(given), k, least); d < least && d < len(k) {
			best, least = k, d
		}
	}
	switch {
	case best != "":
		return ` Did you mean "` + best + `"?`
	case len(known) == 0:
		return ""
	case len(known) > 20:
		known = append(known[:20:20], "…")
	case len(known) == 1 && intro == "There are":
		intro = "There is only"
	}
	return " " + intro + " " + Enumerate(known, "and") + "."
}

// Enumerate writes a list as prose.
func Enumerate(words []string, and string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + and + " " + words[len(words)-1]
}

// distance is the number of letters to add, remove, change or swap with their neighbour to make b of a, or limit when it
// is not less than that.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit)
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// ValidName reports whether a lab, a machine or a pod can have that name.
func ValidName(name string) bool { return len(name) <= maxName && validName.MatchString(name) }
