package lab

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
)

// maxDiagnostics is more than anybody reads.
const maxDiagnostics = 100

// Limit keeps as many diagnostics as anybody reads, errors rather than warnings, and ends with a word about the others.
func Limit(diags hcl.Diagnostics) hcl.Diagnostics { return limit(diags, tally{}) }

// tally counts diagnostics by severity.
type tally map[hcl.DiagnosticSeverity]int

// limit is Limit where some have been dropped already.
func limit(diags hcl.Diagnostics, dropped tally) hcl.Diagnostics {
	errors := 0
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			errors++
		}
	}
	if len(diags) <= maxDiagnostics && len(dropped) == 0 {
		return diags
	}
	room := tally{hcl.DiagError: min(errors, maxDiagnostics-1)}
	room[hcl.DiagWarning] = maxDiagnostics - 1 - room[hcl.DiagError]
	var kept hcl.Diagnostics
	more := tally{hcl.DiagError: dropped[hcl.DiagError], hcl.DiagWarning: dropped[hcl.DiagWarning]}
	for _, d := range diags {
		if room[d.Severity] == 0 {
			more[d.Severity]++
			continue
		}
		room[d.Severity]--
		kept = append(kept, d)
	}
	if n := more[hcl.DiagError]; n > 0 {
		return append(kept, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Too many errors",
			Detail: fmt.Sprintf("There are %d more. Fix the ones above first.", n),
		})
	}
	return append(kept, &hcl.Diagnostic{
		Severity: hcl.DiagWarning, Summary: "Too many warnings", Detail: fmt.Sprintf("There are %d more.", more[hcl.DiagWarning]),
	})
}
