package lab

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Files are the sources that diagnostics point into, by the name in their ranges.
type Files map[string]*hcl.File

// Print writes diagnostics for a person, each with its place and the lines it is about. Details are wrapped at width
// columns unless that is zero.
func (f Files) Print(w io.Writer, diags hcl.Diagnostics, width uint, color bool) error {
	for _, d := range diags {
		var text strings.Builder
		files, before := f, 0
		if d.Subject != nil && f[d.Subject.Filename] != nil {
			d, files, before = f.excerpt(d)
		}
		if err := hcl.NewDiagnosticTextWriter(&text, files, width, color).WriteDiagnostic(d); err != nil {
			return err
		}
		if _, err := io.WriteString(w, renumber(text.String(), d, before)); err != nil {
			return err
		}
	}
	return nil
}

// renumber adds the number of lines before an excerpt to those in a printed diagnostic.
func renumber(text string, d *hcl.Diagnostic, before int) string {
	if before == 0 {
		return text
	}
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		place := fmt.Sprintf("  on %s line ", d.Subject.Filename)
		rest, ok := strings.CutPrefix(line, fmt.Sprintf("%s%d", place, d.Subject.Start.Line))
		if !ok {
			continue
		}
		lines[i] = fmt.Sprintf("%s%d%s", place, d.Subject.Start.Line+before, rest)
		for j := i + 1; j < len(lines) && lines[j] != "\n"; j++ { // HCL shows no line that is empty
			number, rest, _ := strings.Cut(lines[j], ": ")
			n, _ := strconv.Atoi(strings.TrimSpace(number))
			lines[j] = fmt.Sprintf("%4d: %s", n+before, rest)
		}
		break
	}
	return strings.Join(lines, "")
}

// maxExcerpt is how many bytes of a file are shown with a diagnostic.
const maxExcerpt = 2000

// excerpt makes of a file only what is shown with a diagnostic: the lines it is about, or where these are too long the
// beginning of its place. HCL's own writer would go through the whole file for every diagnostic.
func (f Files) excerpt(d *hcl.Diagnostic) (short *hcl.Diagnostic, files Files, linesBefore int) {
	file := f[d.Subject.Filename]
	src := file.Bytes
	at := func(b int) int { return min(b, len(src)) }
	lineStart := func(b int) int { return 1 + bytes.LastIndexByte(src[:b], '\n') }
	lineEnd := func(b int) int {
		if i := bytes.IndexByte(src[b:], '\n'); i >= 0 {
			return b + i
		}
		return len(src)
	}
	copied, subject := *d, *d.Subject
	copied.Subject = &subject
	around := hcl.RangeOver(subject, subject)
	if d.Context != nil {
		around = hcl.RangeOver(subject, *d.Context)
	}
	from, to := lineStart(at(around.Start.Byte)), lineEnd(at(around.End.Byte))
	first := around.Start.Line
	text, cut := src[from:to], 0
	if to-from > maxExcerpt {
		const beside = 60
		start := at(subject.Start.Byte)
		end := min(at(subject.End.Byte), start+beside, lineEnd(start))
		from, to = max(lineStart(start), start-beside), min(lineEnd(end), end+beside)
		text, cut = []byte("… "+string(src[from:to])+" …"), len("… ")
		subject.End.Byte, subject.End.Line = end, subject.Start.Line
		first, copied.Context = subject.Start.Line, nil
	}
	shift := func(r *hcl.Range) *hcl.Range {
		s := *r
		for _, p := range []*hcl.Pos{&s.Start, &s.End} {
			p.Byte, p.Line = p.Byte-from+cut, p.Line-first+1
		}
		return &s
	}
	copied.Subject = shift(&subject)
	if copied.Context != nil {
		copied.Context = shift(copied.Context)
	}
	return &copied, Files{subject.Filename: {Bytes: text, Nav: shifted{file.Nav, from - cut}}}, first - 1
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
