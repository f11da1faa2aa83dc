package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"labnet/testbed"
	"labnet/testbed/holder"
)

// Which verbs do without namespaces; all others work in the world of the user who is not root.
var (
	staysOutside = []string{"help", "completion", "report", "faults", "drill list", "drill report", "validate", "fmt", "modes", "version"}
	// These look at what is running, and else say what can be said without it.
	entersIfThere = []string{"plan", "graph", "extcap", "__complete", "__completeNoDesc"}
	// This one would look at a world, and else says why there is none.
	entersIfItCan = []string{"doctor"}
)

// goThere makes an ordinary user's command one in his own world, where he is root. It returns in that world, and for what
// needs none.
func (c *command) goThere(cmd *cobra.Command) error {
	is := func(list []string) bool {
		for at := cmd; at.HasParent(); at = at.Parent() {
			if slices.Contains(list, strings.TrimPrefix(at.CommandPath(), at.Root().Name()+" ")) {
				return true
			}
		}
		return false
	}
	if holder.Inside() || os.Geteuid() == 0 && !c.rootless || !cmd.HasParent() || is(staysOutside) {
		return nil
	}
	err := holder.Enter(c.args, false)
	if errors.Is(err, holder.ErrNone) && !is(entersIfThere) {
		if labs := testbed.Recorded(); len(labs) > 0 && !c.rootless {
			c.say("Labs of root are apart from yours: %s. \"sudo lab\" works on them.", strings.Join(labs, ", "))
		}
		err = holder.Enter(c.args, true)
	}
	switch {
	case errors.Is(err, holder.ErrNone):
		return nil
	case is(entersIfThere), is(entersIfItCan):
		c.outside = err
		return nil
	}
	c.say("lab %s needs root, or your own namespaces.", cmd.Name())
	return status{failed, err}
}

// unprivileged adds to an error that ended tracing whether root was missing.
func unprivileged(err error) error {
	if !errors.Is(err, os.ErrPermission) || !testbed.InUserNamespace() {
		return err
	}
	return fmt.Errorf("the kernel's tracepoints need root, even where users may have their own namespaces (%w); as root: \"sudo lab up\" and \"sudo lab trace\"", err)
}

// privilege says what a lab was built with, where that is not root.
func privilege() string {
	if testbed.InUserNamespace() {
		return ", without root"
	}
	return ""
}
