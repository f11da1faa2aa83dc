package report

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func read(t *testing.T) *Results {
	t.Helper()
	r, err := Read("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// first keeps the first rounds, as an interrupted comparison does.
func first(r *Results, rounds int) *Results {
	r.Rounds, r.Order = rounds, r.Order[:min(rounds, len(r.Order))]
	r.Samples = slices.DeleteFunc(r.Samples, func(s Sample) bool { return s.Round > rounds })
	r.Derive()
	return r
}

// columns is what is rendered where no terminal says otherwise.
const columns = 100

func render(t *testing.T, r *Results, format string, color bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, format, columns, color); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	failed := first(read(t), 3)
	failed.Proof[1] = Proof{Mode: "vxlan", Wire: "super", Encapsulation: failed.Proof[1].Encapsulation, Frames: 3,
		Detail: "a frame is not encapsulated (10.42.0.2 > 10.42.1.2), instead of vxlan vni 1, udp port 8472, 192.168.205.4 > 192.168.205.2"}
	failed.Warnings = []string{"same-node is not measured: no node has two pods"}
	for _, tt := range []struct {
		golden, format string
		results        *Results
		color          bool
	}{
		{"results.json", "json", read(t), false},
		{"results.txt", "text", read(t), false},
		{"results.md", "md", read(t), false},
		{"results.csv", "csv", read(t), false},
		{"three-rounds.txt", "text", failed, false},
		{"three-rounds.color.txt", "text", failed, true},
		{"three-rounds.md", "md", failed, false},
		{"nothing.txt", "text", first(read(t), 0), false},
	} {
		t.Run(tt.golden, func(t *testing.T) {
			got := render(t, tt.results, tt.format, tt.color)
			path := filepath.Join("testdata", tt.golden)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-update writes it anew, if it is better:\n%s", diff)
			}
		})
	}
}

func TestTextFits(t *testing.T) {
	long := full()
	for i := range long.Samples {
		if long.Samples[i].Mode == "udp" {
			long.Samples[i].Mode = "a mode whose name is as long as a sentence"
		}
	}
	long.Modes[5] = "a mode whose name is as long as a sentence"
	long.Derive()
	fits := func(what, text string, columns int) {
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
				t.Errorf("%s: %d columns, not %d: %s", what, n, columns, line)
			}
		}
	}
	all := []*Results{first(read(t), 3), read(t), full(), long, first(full(), 3), swept(withCost(full(), 14))}
	for _, columns := range []int{80, 93, columns, 132} {
		for i, r := range all {
			r.Warnings = []string{strings.Repeat("much to say, ", 30)}
			var text, diff strings.Builder
			if err := errors.Join(r.Write(&text, "text", columns, false), Compare(all[(i+1)%len(all)], r).Write(&diff, "text", columns, false)); err != nil {
				t.Fatal(err)
			}
			fits(fmt.Sprint("results ", i), text.String(), columns)
			fits(fmt.Sprint("difference ", i), diff.String(), columns)
		}
	}
}

// TestNarrowTablesSayAll: a table that is folded shows every cell of the wide one, and the names in each part.
func TestNarrowTablesSayAll(t *testing.T) {
	g := grid{Header: []string{"mode"}}
	row := []string{"vxlan"}
	for i := range 30 {
		g.Header, row = append(g.Header, fmt.Sprintf("head%d.", i)), append(row, strings.Repeat("x", i)+fmt.Sprintf("cell%d.", i))
	}
	g.add(row...)
	for width := 40; width < 200; width += 20 {
		w := &writer{columns: width}
		w.grid(g)
		text := w.String()
		for i := range 30 {
			if strings.Count(text, fmt.Sprintf("head%d.", i)) != 1 || strings.Count(text, fmt.Sprintf("cell%d.", i)) != 1 {
				t.Errorf("%d columns: column %d is not shown once:\n%s", width, i, text)
			}
		}
		if parts := strings.Count(text, "\n\n") + 1; strings.Count(text, "vxlan") != parts || strings.Count(text, "mode") != parts {
			t.Errorf("%d columns: not every part has the names:\n%s", width, text)
		}
	}
}

// The page must load nothing, and be well formed enough for a strict parser; void elements aside.
func TestHTMLStandsAlone(t *testing.T) {
	r := read(t)
	r.Lab = `<script>alert("lab")</script>`
	page := render(t, r, "html", false)
	for _, sign := range []string{"http://", "https://", "src=", `href="[^#]`, "@import", "url(", "<script"} {
		if strings.Contains(page, sign) {
			t.Errorf("the page contains %s", sign)
		}
	}
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = true, xml.HTMLAutoClose, xml.HTMLEntity
	circles := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	if circles != len(r.Samples) {
		t.Errorf("%d dots for %d samples", circles, len(r.Samples))
	}
}

func TestCSVIsARowASample(t *testing.T) {
	r := read(t)
	rows, err := csv.NewReader(strings.NewReader(render(t, r, "csv", false))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(r.Samples)+1 {
		t.Errorf("%d rows for %d samples", len(rows), len(r.Samples))
	}
	if got := fmt.Sprint(rows[1][7], " ", rows[1][8]); got != fmt.Sprint(r.Samples[0].Round, " ", r.Samples[0].Value) {
		t.Errorf("the first row has %s", got)
	}
}

// The fields that scripts rely on are there, and lists are lists even when they are empty.
func TestJSONContract(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(render(t, read(t), "json", false)), &doc); err != nil {
		t.Fatal(err)
	}
	has := func(m map[string]any, names string) {
		t.Helper()
		for _, n := range strings.Fields(names) {
			if _, ok := m[n]; !ok {
				t.Errorf("no %s in %v", n, m)
			}
		}
	}
	has(doc, "schema tool machine lab seed samples summary proof")
	has(doc["samples"].([]any)[0].(map[string]any), "mode datapath wire path measure metric params round value unit")
	has(doc["summary"].([]any)[0].(map[string]any), "mode wire path measure metric params n median low high unit baseline ratio ratio_low ratio_high p tier")
	has(doc["proof"].([]any)[0].(map[string]any), "mode wire ok encapsulation frames detail")

	empty := &Results{}
	empty.Derive()
	if err := json.Unmarshal([]byte(render(t, empty, "json", false)), &doc); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"argv", "modes", "order", "endpoints", "samples", "summary", "proof", "warnings", "notes"} {
		if _, ok := doc[n].([]any); !ok {
			t.Errorf("%s is %v", n, doc[n])
		}
	}
}

func TestSaveAndRead(t *testing.T) {
	want := read(t)
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 { // the second one replaces the first
		if err := want.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := want.SavePage(dir); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("the folder holds %v", entries)
	}
	path := filepath.Join(dir, fileName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), os.WriteFile(path+".gz", packed.Bytes(), 0o644), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	if got, err = Read(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("compressed:\n" + diff)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	for text, want := range map[string]string{"{": "unexpected end", `{"schema":99}`: "schema 99"} {
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Whatever is missing from a recording, and however odd its numbers, all formats can be made of it.
func TestHoles(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r := full()
		keep := []float64{0, 0.1, 0.5, 0.9, 1}
		thin(rng, &r.Samples, keep[rng.IntN(5)])
		thin(rng, &r.Histograms, keep[rng.IntN(5)])
		thin(rng, &r.Series, keep[rng.IntN(5)])
		thin(rng, &r.Devices, keep[rng.IntN(5)])
		thin(rng, &r.Proof, keep[rng.IntN(5)])
		thin(rng, &r.Passes, keep[rng.IntN(5)])
		thin(rng, &r.Wires, keep[rng.IntN(5)])
		thin(rng, &r.Modes, keep[1+rng.IntN(4)])
		thin(rng, &r.Topology.Machines, keep[rng.IntN(5)])
		thin(rng, &r.Topology.Switches, keep[rng.IntN(5)])
		if rng.IntN(3) == 0 {
			r.Twin = nil
		}
		odd := []float64{0, 1e-12, 1e15, -3, 7}
		for i := range r.Samples {
			if rng.IntN(20) == 0 {
				r.Samples[i].Value = odd[rng.IntN(5)]
			}
		}
		for i := range r.Histograms {
			h := &r.Histograms[i]
			h.Counts = h.Counts[:rng.IntN(len(h.Counts)+1)]
			if len(h.Counts) > 0 && rng.IntN(3) == 0 {
				h.Counts[0] = [2]float64{0, odd[rng.IntN(3)]}
			}
		}
		for i := range r.Series {
			s := &r.Series[i]
			s.Values = s.Values[:rng.IntN(len(s.Values)+1)]
			s.Step *= float64(rng.IntN(2))
		}
		r.Baseline = append(r.Modes, "host-gw")[0]
		r.Derive()
		for _, format := range Formats {
			if got := render(t, r, format, false); strings.Contains(got, "NaN") || strings.Contains(got, "Inf") {
				t.Errorf("seed %d: %s shows a number that is none", seed, format)
			}
		}
	}
}

// thin keeps a share of a list.
func thin[T any](rng *rand.Rand, list *[]T, share float64) {
	*list = slices.DeleteFunc(*list, func(T) bool { return rng.Float64() >= share })
}

func TestUnknownFormat(t *testing.T) {
	if err := read(t).Write(io.Discard, "pdf", 0, false); err == nil {
		t.Error("pdf is no format")
	}
}
