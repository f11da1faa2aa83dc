package lab

import (
	"bytes"
	"io"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Files are the sources that diagnostics point into, by the name in their ranges.
type Files map[string]*hcl.File

// Print writes diagnostics for a person, each with its place and the lines it is about. Details are wrapped at width
// columns unless that is zero.
func (f Files) Print(w io.Writer, diags hcl.Diagnostics, width uint, color bool) error {
	for _, d := range diags {
		files := f
		if d.Subject != nil && f[d.Subject.Filename] != nil {
			d, files = f.excerpt(d)
		}
		if err := hcl.NewDiagnosticTextWriter(w, files, width, color).WriteDiagnostic(d); err != nil {
			return err
		}
	}
	return nil
}

// maxExcerpt is how many bytes of a file are shown with a diagnostic.
const maxExcerpt = 2000

// excerpt returns the diagnostic as it is to be printed, and its file with as much as it may show: the lines it is about,
// or where these are too long the beginning of its place.
func (f Files) excerpt(d *hcl.Diagnostic) (*hcl.Diagnostic, Files) {
	file := f[d.Subject.Filename]
	src := file.Bytes
	from, to := min(d.Subject.Start.Byte, len(src)), min(d.Subject.End.Byte, len(src))
	if d.Context != nil {
		from, to = min(from, d.Context.Start.Byte), max(to, min(d.Context.End.Byte, len(src)))
	}
	from = 1 + bytes.LastIndexByte(src[:from], '\n')
	if i := bytes.IndexByte(src[to:], '\n'); i >= 0 {
		to += i
	} else {
		to = len(src)
	}
	if to-from <= maxExcerpt {
		return d, f
	}
	const around = 60
	start := min(d.Subject.Start.Byte, len(src))
	end := min(d.Subject.End.Byte, start+around, len(src))
	if i := bytes.IndexByte(src[start:end], '\n'); i >= 0 {
		end = start + i
	}
	from = max(1+bytes.LastIndexByte(src[:start], '\n'), start-around)
	to = min(end+around, len(src))
	if i := bytes.IndexByte(src[end:to], '\n'); i >= 0 {
		to = end + i
	}
	before := strings.Repeat("\n", d.Subject.Start.Line-1) + "… "
	short := &hcl.File{Bytes: []byte(before + string(src[from:to]) + " …"), Nav: shifted{file.Nav, from - len(before)}}
	at := *d.Subject
	at.Start.Byte, at.End.Byte = at.Start.Byte-from+len(before), end-from+len(before)
	at.End.Line = at.Start.Line
	copied := *d
	copied.Subject, copied.Context = &at, nil
	return &copied, Files{at.Filename: short}
}

// shifted says of an excerpt what block it is in.
type shifted struct {
	whole any
	by    int
}

func (s shifted) ContextString(offset int) string {
	if nav, ok := s.whole.(interface{ ContextString(int) string }); ok {
		return nav.ContextString(offset + s.by)
	}
	return ""
}
