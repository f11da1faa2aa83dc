package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/lab/traits"
	"labnet/modes"
	"labnet/testbed"
	"labnet/testbed/compare"
)

// runComparison plans the instances of a comparison, and lets them be measured.
func (c *command) runComparison(ctx context.Context, want request, prior *report.Results, out string, strict bool) error {
	f, err := features("compare", false)
	if err != nil {
		return err
	}
	s := recorded(&testbed.Record{File: want.File, Source: want.Source, Vars: want.Vars, Values: want.Values, Texts: want.Texts})
	settings, err := c.settings(s, slices.Concat(proxied(want.Proxies), want.Sweeps))
	if err != nil {
		return err
	}
	l := settings[0].lab
	if len(l.Of(lab.Node)) == 0 {
		return refuse("lab %s has no nodes, so there is nothing to compare", l.Name)
	}
	all := len(want.Modes) == 0
	if all {
		want.Modes = modes.All.Names()
	}
	cfg := compare.Config{
		Lab: l.Name, Set: want.Set, Paths: want.Paths, Measures: want.Measures, Engine: want.Engine, Rounds: want.Rounds, Seed: want.Seed,
		Generations: want.Generations, Warmup: want.Warmup, Window: want.Window, Argv: os.Args, Prior: prior,
	}
	if err := cfg.Complete(want.Wires); err != nil {
		return status{refused, err}
	}
	instances := 0
	variant := func(at setting, mode string) (compare.Variant, error) {
		v := compare.Variant{Mode: at.title(mode)}
		l := at.lab
		build := func(l *lab.Lab, instance int, w compare.Wire) (*plan.Plan, hcl.Diagnostics) {
			proxy := at.proxy
			if l.Services == nil && at.lab.Services != nil {
				proxy = "" // they were taken away to be measured
			}
			p, diags := plan.Build(l, plan.Options{
				Instance: fmt.Sprintf("%.40s-cmp%d-%d", l.Name, os.Getpid(), instance), Mode: mode, Proxy: proxy, Modes: modes.All, Features: f, Wire: w.Model, Rate: w.Rate, Idle: true,
			})
			return at.stripped(p), diags
		}
		instances++
		first := instances
		for _, w := range cfg.Wires {
			p, diags := build(l, instances, w)
			if p == nil {
				if all {
					c.say("%s is left out: %s", v.Mode, diags[0].Summary)
					return v, nil
				}
				return v, c.judge(at.files, diags)
			}
			v.Plans = append(v.Plans, p)
		}
		if slices.ContainsFunc(cfg.Measures, compare.OfServices) {
			if err := compare.Served(v.Plans[0]); err != nil {
				return v, status{refused, err}
			}
		}
		v.Datapath = datapath(v.Plans[0])
		if slices.Contains(cfg.Measures, compare.Programming) {
			v.Services = compare.Program(l, func(l *lab.Lab) *plan.Plan {
				p, _ := build(l, first, cfg.Wires[0])
				return p
			})
		}
		instances++
		v.Life, _ = build(l, instances, cfg.Wires[0])
		instances++
		if v.Smaller, _ = build(l.WithoutLastNode(), instances, cfg.Wires[0]); v.Smaller != nil && len(v.Smaller.Cluster.Nodes) == 0 {
			v.Smaller = nil
		}
		v.Copy = func() (*plan.Plan, error) {
			instances++
			p, diags := build(l, instances, compare.Bare)
			if p == nil {
				return nil, c.judge(at.files, diags)
			}
			return p, nil
		}
		return v, nil
	}
	var first struct { // the baseline
		at   setting
		mode string
	}
	for i, mode := range want.Modes {
		if slices.Contains(want.Modes[:i], mode) {
			return refuse("mode %s is named twice", mode)
		}
		for _, at := range settings {
			v, err := variant(at, mode)
			if err != nil {
				return err
			}
			if v.Plans != nil {
				if len(cfg.Variants) == 0 {
					first.at, first.mode = at, mode
				}
				cfg.Variants = append(cfg.Variants, v)
				if at.values != "" {
					cfg.Swept = append(cfg.Swept, report.Swept{Mode: v.Mode, Of: mode, Values: at.values})
				}
			}
		}
	}
	if len(cfg.Variants) == 0 {
		return refuse("none of the modes %s suits this lab and kernel", strings.Join(want.Modes, ", "))
	}
	var plans []*plan.Plan
	for _, v := range cfg.Variants {
		plans = append(plans, v.Plans[0])
	}
	if err := c.mayAttach(s, plans, want.Allow); err != nil {
		return err
	}
	cfg.Baseline = cfg.Variants[0].Mode
	twin, err := variant(first.at, first.mode)
	if err != nil {
		return err
	}
	twin.Mode += " again"
	cfg.Twin, cfg.Variants = twin.Mode, append(cfg.Variants, twin)
	want.Generations = cfg.Generations
	want.Seed, want.Rounds, want.Warmup, want.Window = cfg.Seed, cfg.Rounds, cfg.Warmup, cfg.Window
	if all {
		want.Modes = nil
	}
	if prior != nil {
		if err := same(prior, l, cfg); err != nil {
			return status{refused, fmt.Errorf("%s cannot be resumed: %w", out, err)}
		}
	}
	source := func(p *plan.Plan) *source {
		for _, at := range settings {
			if at.lab == p.Cluster.Lab {
				return at.source
			}
		}
		return s
	}
	return c.measure(ctx, s, source, cfg, want, out, strict)
}

// same refuses to go on with what was begun otherwise, or elsewhere.
func same(prior *report.Results, l *lab.Lab, cfg compare.Config) error {
	var names []string
	for _, v := range cfg.Variants[:len(cfg.Variants)-1] {
		names = append(names, v.Mode)
	}
	here := compare.Machine()
	switch was := prior.Machine; {
	case was.Kernel != here.Kernel || was.CPU != here.CPU || was.CPUs != here.CPUs:
		return fmt.Errorf("it was begun on Linux %s with %d × %s, and this is Linux %s with %d × %s", was.Kernel, was.CPUs, was.CPU, here.Kernel, here.CPUs, here.CPU)
	case was.Rootless != here.Rootless:
		return errors.New("one part would be measured by root and the other without, whose sockets have smaller buffers")
	case !slices.Equal(prior.Modes, names):
		return fmt.Errorf("it was begun with the modes %s, and this kernel can %s", strings.Join(prior.Modes, ", "), strings.Join(names, ", "))
	case prior.Lab != l.Name || prior.Seed != cfg.Seed:
		return errors.New("its results belong to another comparison")
	}
	return nil
}

// measure builds the instances, runs the comparison and reports it, and leaves nothing behind.
func (c *command) measure(ctx context.Context, s *source, of func(*plan.Plan) *source, cfg compare.Config, want request, out string, strict bool) (err error) {
	c.say("Comparing %s: %d modes, %s%s, about %s. Results go to %s.", cfg.Lab, len(cfg.Variants)-1, cfg.Extent(), privilege(), duration(compare.Estimate(cfg)), out)
	if err := keep(want, out); err != nil {
		return err
	}
	hash := fmt.Sprintf("%x", sha256.Sum256(lab.Join(s.files)))
	cfg.Bring = func(ctx context.Context, p *plan.Plan) error {
		_, err := testbed.Up(ctx, p, of(p).record(p), testbed.Watch{})
		return err
	}
	cfg.Down = func(ctx context.Context, name string) error { return testbed.Down(ctx, name, func(string) {}) }
	cfg.Keep = func(r *report.Results) error {
		r.Tool, r.Definition, r.Traits = "lab "+version(), hash, nil
		for _, v := range cfg.Variants {
			if slices.Contains(r.Modes, v.Mode) {
				t := traits.Of(v.Plans[0])
				t.Mode = v.Mode // which says at what value of what is swept
				r.Traits = append(r.Traits, t)
			}
		}
		return errors.Join(r.Save(out), giveToCaller(out))
	}
	steps := newProgress(c.err)
	defer c.working()()
	defer func() {
		steps.end(err == nil)
		for _, v := range cfg.Variants {
			for _, p := range []*plan.Plan{v.Plans[0], v.Life, v.Smaller} {
				if p != nil {
					err = errors.Join(err, cfg.Down(context.WithoutCancel(ctx), p.Cluster.Name))
				}
			}
		}
	}()
	for i, v := range cfg.Variants {
		if !cfg.Capacity() {
			break
		}
		if i == 0 {
			steps.begin("building %d instances", len(cfg.Variants))
		}
		steps.set("%s", v.Mode)
		if err := cfg.Bring(ctx, v.Plans[0]); err != nil {
			return err
		}
	}
	results, err := compare.Run(ctx, cfg, steps.follow())
	steps.end(err == nil)
	if results == nil {
		return err
	}
	if err := errors.Join(err, cfg.Keep(results), c.present(results, out)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; the finished rounds are reported, and \"lab compare --resume %s\" goes on", out)
	}
	if strict && cfg.Rounds < report.MinRounds {
		return status{answer, fmt.Errorf("%d rounds are too few to rank modes; it takes %d", cfg.Rounds, report.MinRounds)}
	}
	return nil
}

// follow shows the steps of a comparison, and how long it is to its end.
func (p *progress) follow() compare.Progress {
	last := ""
	return func(step string, done, total int, left time.Duration) {
		if step != last {
			p.begin("%s", step)
			last = step
		}
		if left > 0 {
			p.set("%d of %d, about %s left", done, total, duration(left))
		} else {
			p.set("%d of %d", done, total)
		}
	}
}

// present leaves the page in the folder of the results, and reports them.
func (c *command) present(r *report.Results, out string) error {
	if err := errors.Join(r.SavePage(out), giveToCaller(out)); err != nil {
		return err
	}
	if err := r.Write(c.out, c.format, width(c.out), colour(c.out)); err != nil {
		return err
	}
	c.say("To look at: %s. Rendered again by: lab report %s", filepath.Join(out, report.PageName), out)
	return nil
}

// keep writes down what is being done, for when it has to go on.
func keep(want request, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(out, requestName), append(text, '\n'), 0o644), giveToCaller(out))
}

// giveToCaller gives what root wrote to the user who called sudo.
func giveToCaller(dir string) error {
	uid, err := strconv.Atoi(os.Getenv("SUDO_UID"))
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	gid, err := strconv.Atoi(os.Getenv("SUDO_GID"))
	if err != nil {
		return nil
	}
	if filepath.Dir(dir) == "results" {
		_ = os.Chown("results", uid, gid)
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}
