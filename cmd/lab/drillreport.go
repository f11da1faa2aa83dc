package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (c *command) drillReport() *cobra.Command {
	return &cobra.Command{
		Use:   "report FILE…",
		Short: "Summarise learners' results in a table",
		Long:  `Makes a table of files that "lab drill check -o json" wrote, one for each learner.`,
		Example: `  lab drill check -o json > anna.json        # each learner
  lab drill report *.json                    # the trainer`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return refuse("give the files that \"lab drill check -o json\" wrote: lab drill report *.json")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			rows := []row{{cells: []string{"who", "drill", "level", "hints", "attempts", "time", "state"}}}
			docs := []map[string]any{}
			for _, path := range args {
				text, err := os.ReadFile(path)
				if err != nil {
					return refuse("%w", err)
				}
				var d drillDocument
				if err := json.Unmarshal(text, &d); err != nil || d.Drill == "" {
					return refuse("%s is not what \"lab drill check -o json\" writes", path)
				}
				who := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".json")
				docs = append(docs, map[string]any{"who": who, "attempt": d})
				rows = append(rows, row{cells: []string{
					who, d.Drill, strconv.Itoa(d.Level), strconv.Itoa(d.Hints), strconv.Itoa(d.Attempts), (time.Duration(d.Seconds) * time.Second).String(), d.State,
				}})
			}
			if c.json() {
				return c.document(map[string]any{"schema": schema, "attempts": docs})
			}
			fmt.Fprint(c.out, columns(rows, width(c.out)))
			return nil
		},
	}
}
