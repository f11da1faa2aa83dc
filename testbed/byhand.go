package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"labnet/lab/plan"
)

// ByHand makes what has no command of its own in other programs, for scripts made of plans:
//
//	agent start NAMESPACE NAME < configuration
//	agent stop NAMESPACE NAME
//	cni add NAMESPACE POD ITS-NAMESPACE DEVICE < configuration
//	cni del NAMESPACE POD
//	program add --namespace NAMESPACE dev DEVICE HOOK pref NUMBER …
func ByHand(ctx context.Context, args []string, in io.Reader) error {
	if len(args) > 2 && args[0] == "program" && args[1] == "add" {
		p, err := plan.ParseProgram(args[2:])
		if err != nil {
			return err
		}
		return Apply(ctx, []plan.Change{{Op: plan.Create, Object: p}}, func(plan.Change) {})
	}
	if len(args) > 3 && args[0] == "cni" {
		return byHandCNI(ctx, args[1:], in)
	}
	if len(args) != 4 || args[0] != "agent" {
		return errors.New("this is for scripts that \"lab plan --shell\" prints")
	}
	place, err := Open(args[2])
	if err != nil {
		return err
	}
	defer place.Close()
	switch verb, a := args[1], (plan.Agent{Namespace: args[2], Name: args[3]}); verb {
	case "start":
		config, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		a.Config = string(config)
		return place.Do(func() error { return StartAgent(ctx, a) })
	case "stop":
		return place.Do(func() error { return StopAgent(a.Namespace, a.Name) })
	default:
		return fmt.Errorf("an agent is started or stopped, not %q", verb)
	}
}

func byHandCNI(ctx context.Context, args []string, in io.Reader) error {
	c := plan.Change{Op: plan.Delete, Object: plan.Attachment{Namespace: args[1], Pod: args[2], Into: args[1] + "." + args[2]}}
	if args[0] == "add" && len(args) == 5 {
		config, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		c = plan.Change{Op: plan.Create, Object: plan.Attachment{Namespace: args[1], Pod: args[2], Into: args[3], On: args[4], Config: strings.TrimSpace(string(config))}}
	} else if args[0] != "del" || len(args) != 3 {
		return errors.New("a pod is attached with \"cni add\", and detached with \"cni del\"")
	}
	return Apply(ctx, []plan.Change{c}, func(plan.Change) {})
}
