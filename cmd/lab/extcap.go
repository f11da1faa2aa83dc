package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"labnet/testbed"
)

// Wireshark runs the programs in a folder for extcap: they list interfaces, and capture into a fifo. An interface of ours is
// LAB/MACHINE or LAB/all. Those of root's labs, which another user reaches by sudo only, have a prefix.
const ofRoot = "root:"

// extcapScript is what Wireshark runs.
const extcapScript = `#!/bin/sh
# Puts the machines of running labs into Wireshark's list of interfaces. Written by "lab capture --extcap-install".
lab=%s
case " $* " in
*" --extcap-interfaces "*)
  "$lab" extcap "$@"
  [ "$(id -u)" != 0 ] && ls -d /run/lab/*/ >/dev/null 2>&1 || exit 0
  sudo -n "$lab" extcap --of-root "$@" 2>/dev/null ||
    echo 'interface {value=root:labs/none}{display=Labs of root: "sudo -n lab" asks for a password}' ;;
*[\ =]root:*) exec sudo -n "$lab" extcap "$@" ;;
*) exec "$lab" extcap "$@" ;;
esac
`

// extcap is what Wireshark asks, by the script.
func (c *command) extcap() *cobra.Command {
	var ask struct {
		interfaces, dlts, config, capture, root bool
		at, fifo, filter, version               string
	}
	cmd := &cobra.Command{
		Use: "extcap", Hidden: true, Args: atMost(0), Short: "What Wireshark asks for interfaces",
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, target, ok := strings.Cut(strings.TrimPrefix(ask.at, ofRoot), "/")
			switch {
			case ask.interfaces:
				return c.extcapInterfaces(cmd, ask.root)
			case ask.dlts:
				_, err := fmt.Fprintln(c.out, "dlt {number=1}{name=EN10MB}{display=Ethernet}") // the file says of each device what it is
				return err
			case ask.config:
				return nil // nothing can be set
			case !ok:
				return refuse("there is no interface %q; lab extcap --extcap-interfaces lists them", ask.at)
			case !ask.capture: // whether the filter is one: what is wrong is said on standard output
				known, err := c.knownOf(lab)
				if err == nil {
					_, err = filterOf(ask.filter, ask.filter != "", known.names)
				}
				if err != nil {
					fmt.Fprintln(c.out, err)
				}
				return nil
			case ask.fifo == "":
				return refuse("say where to: --fifo FILE")
			}
			return c.runCapture(cmd, []string{target}, ask.filter, ask.filter != "", captured{lab: lab, path: ask.fifo, snaplen: largestFrame})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&ask.interfaces, "extcap-interfaces", false, "list the interfaces")
	flags.BoolVar(&ask.dlts, "extcap-dlts", false, "say what packets of an interface begin with")
	flags.BoolVar(&ask.config, "extcap-config", false, "say what can be set")
	flags.BoolVar(&ask.capture, "capture", false, "capture")
	flags.BoolVar(&ask.root, "of-root", false, "name them as root's")
	flags.StringVar(&ask.at, "extcap-interface", "", "the `interface`")
	flags.StringVar(&ask.fifo, "fifo", "", "the `file` to write to")
	flags.StringVar(&ask.filter, "extcap-capture-filter", "", "the `filter`, as that of lab capture")
	flags.StringVar(&ask.version, "extcap-version", "", "Wireshark's `version`")
	return cmd
}

// extcapInterfaces lists the machines and pods of running labs.
func (c *command) extcapInterfaces(cmd *cobra.Command, root bool) error {
	prefix := ""
	if root {
		prefix = ofRoot
	} else {
		fmt.Fprintf(c.out, "extcap {version=%s}\n", version())
	}
	if os.Geteuid() != 0 { // a user without labs
		return nil
	}
	all, err := testbed.Instances(cmd.Context())
	if err != nil {
		return err
	}
	for _, i := range all {
		fmt.Fprintf(c.out, "interface {value=%s%s/all}{display=%[2]s: all, the underlay}\n", prefix, i.Name)
		for _, m := range i.Machines {
			fmt.Fprintf(c.out, "interface {value=%s%s/%s}{display=%[2]s: %[3]s}\n", prefix, i.Name, m.Machine)
		}
	}
	return nil
}

// installExtcap writes the script into the folder that a user's Wireshark looks into.
func (c *command) installExtcap() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	path := filepath.Join(home, ".local/lib/wireshark/extcap/lab")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	script := fmt.Sprintf(extcapScript, "'"+strings.ReplaceAll(self, "'", `'\''`)+"'")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		return err
	}
	c.say("Written: %s. Wireshark from 4.2 on looks there; for an older one copy it into the extcap folder that Help, About, Folders names.", path)
	c.say("The machines of running labs are in its list of interfaces when it starts, or after Capture, Refresh Interfaces.")
	return nil
}
