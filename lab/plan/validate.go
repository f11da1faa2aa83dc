package plan

import (
	"context"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// Validate plans a lab in every mode that its file speaks of, the network's first, whose plan it returns. Of a mode that a
// comparison names everything has to be right; of other mode blocks their own settings.
func Validate(ctx context.Context, l *lab.Lab, opt Options) (*Plan, hcl.Diagnostics) {
	p, diags := Build(l, opt)
	if p == nil || l.Network == nil || opt.Mode != "" {
		return p, diags
	}
	tried := []string{p.ModeName}
	try := func(name string, counts func(at hcl.Range) bool) {
		if slices.Contains(tried, name) || ctx.Err() != nil {
			return
		}
		tried, opt.Mode = append(tried, name), name
		_, more := Build(l, opt)
		for _, d := range more {
			if d.Severity == hcl.DiagError && d.Subject != nil && counts(*d.Subject) && !slices.ContainsFunc(diags, func(e *hcl.Diagnostic) bool { return sameMistake(d, e) }) {
				diags = append(diags, d)
			}
		}
	}
	if l.Compare != nil {
		for _, name := range l.Compare.Modes {
			try(name, func(hcl.Range) bool { return true })
		}
	}
	for _, b := range l.Modes {
		try(b.Name, b.Whole.Overlaps)
	}
	return p, lab.Limit(diags)
}

func sameMistake(a, b *hcl.Diagnostic) bool {
	return a.Summary == b.Summary && a.Detail == b.Detail && a.Subject != nil && b.Subject != nil && *a.Subject == *b.Subject
}
