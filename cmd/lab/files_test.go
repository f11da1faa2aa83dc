package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFilesRunOneWay: inside testbed a file uses those below it, and none of them uses it in turn, by however many others.
func TestFilesRunOneWay(t *testing.T) {
	uses := fileUses(t, "../../testbed")
	for before := 0; before != len(uses); {
		before = len(uses)
		used := map[string]bool{}
		for _, below := range uses {
			for file := range below {
				used[file] = true
			}
		}
		for file, below := range uses {
			if len(below) == 0 || !used[file] { // at the bottom or the top of what is left
				delete(uses, file)
			}
		}
		for _, below := range uses {
			maps.DeleteFunc(below, func(file, _ string) bool { return uses[file] == nil })
		}
	}
	for _, file := range slices.Sorted(maps.Keys(uses)) {
		for below, what := range uses[file] {
			t.Errorf("%s uses %s (%s), and is used by it, or by what uses it", file, below, what)
		}
	}
}

// fileUses returns for each file of a package which others it uses, and one thing of theirs that it does.
func fileUses(t *testing.T, dir string) map[string]map[string]string {
	t.Helper()
	set := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	var files []*ast.File
	uses := map[string]map[string]string{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		uses[filepath.Base(path)] = map[string]string{}
	}
	// What other packages have is not looked at, so that there is much that the checker does not know; of this one it knows all.
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: nothing{}, Error: func(error) {}}
	pkg, _ := config.Check(dir, set, files, info)
	between := 0
	for id, o := range info.Uses {
		if o.Pkg() != pkg || !o.Pos().IsValid() {
			continue
		}
		from, to := filepath.Base(set.Position(id.Pos()).Filename), filepath.Base(set.Position(o.Pos()).Filename)
		if from != to {
			uses[from][to] = o.Name()
			between++
		}
	}
	if between < 100 {
		t.Fatalf("only %d uses between files were found", between)
	}
	return uses
}

// nothing stands for all packages.
type nothing struct{}

func (nothing) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, filepath.Base(path))
	p.MarkComplete()
	return p, nil
}

// TestOneDoor: whatever goes into a namespace, makes one or removes one does so in testbed/place.go. What goes into the world
// of a user who is not root is apart from that, in testbed/holder, and changes nothing of it.
func TestOneDoor(t *testing.T) {
	const door, world = "testbed/place.go", "testbed/holder/"
	found := 0
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		switch name := strings.TrimPrefix(path, "../../"); {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git" || name == "testbed/suite" || name == "testbed/vm"): // tests
			return filepath.SkipDir
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		default:
			text, err := os.ReadFile(path)
			for _, word := range []string{"Setns(", "CLONE_NEWNET", "NetnsDir", "/run/netns", "/ns/net", "netns.Set", "GetNetNS"} {
				if strings.Contains(string(text), word) {
					if found++; name != door && !strings.HasPrefix(name, world) {
						t.Errorf("%s has %s: the way into a namespace is %s", name, word, door)
					}
				}
			}
			return err
		}
	})
	if err != nil || found < 4 {
		t.Error(fmt.Errorf("%d words found: %w", found, err))
	}
}
