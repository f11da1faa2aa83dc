package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"labnet/testbed"
)

// TestScripts runs lab as a person does. The scripts of testdata/script say what is typed and what is seen.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Condition: func(cond string) (bool, error) {
			return cond == "root" && os.Geteuid() == 0, nil
		},
		Setup: func(e *testscript.Env) error {
			if strings.HasSuffix(e.WorkDir, "-life") || strings.HasSuffix(e.WorkDir, "-recorded") || strings.HasSuffix(e.WorkDir, "-nothing") {
				e.Defer(func() {
					_ = testbed.Down(context.Background(), "faults-"+e.WorkDir[strings.LastIndex(e.WorkDir, "-")+1:], func(string) {})
				})
			}
			e.Vars = append(e.Vars, asLab+"=1", "LAB="+os.Args[0])
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// status CODE ARGS…: lab exits with CODE
			"status": func(ts *testscript.TestScript, neg bool, args []string) {
				err := ts.Exec(os.Args[0], args[1:]...)
				got := "0"
				if err != nil {
					got = err.Error()
				}
				if want := args[0]; want != "0" && got != "exit status "+want || want == "0" && err != nil {
					ts.Fatalf("lab %v: %s, not %s", args[1:], got, want)
				}
			},
		},
	})
}
