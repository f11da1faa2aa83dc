package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"labnet/lab"
	"labnet/lab/plan"
)

// A sweep compares every mode at several values of something: of a variable of the definition, of an attribute of its
// switches, with its firewall and without, or with one proxy of services and another.
type sweep struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// parseSweeps reads --sweep name=value,value.
func parseSweeps(words []string) ([]sweep, error) {
	all := []sweep{}
	if slices.Equal(words, []string{"none"}) {
		return all, nil
	}
	for _, word := range words {
		name, values, ok := strings.Cut(word, "=")
		s := sweep{name, strings.Split(values, ",")}
		switch {
		case !ok || name == "" || slices.Contains(s.Values, ""):
			return nil, refuse("--sweep %s: write it as name=value,value, such as mtu=1500,9000", word)
		case len(s.Values) < 2:
			return nil, refuse("--sweep %s: one value is no sweep; give two or more", word)
		case slices.ContainsFunc(all, func(o sweep) bool { return o.Name == name }):
			return nil, refuse("--sweep %s: %s is swept twice", word, name)
		}
		for i, v := range s.Values {
			if slices.Contains(s.Values[:i], v) {
				return nil, refuse("--sweep %s: %s is there twice", word, v)
			}
			if name == lab.Firewall && v != "on" && v != "off" {
				return nil, refuse("--sweep %s: the firewall is on or off", word)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// proxied is a sweep over proxies.
func proxied(proxies []string) []sweep {
	if len(proxies) == 0 {
		return nil
	}
	return []sweep{{lab.Proxy, proxies}}
}

// setting is a definition at one value of everything that is swept.
type setting struct {
	values string // "mtu=9000"; empty where nothing is swept
	source *source
	lab    *lab.Lab
	files  lab.Files
	bare   bool // without netfilter rules
	proxy  string
}

// settings lists the definition at all combinations of values, the first values of all sweeps first.
func (c *command) settings(s *source, sweeps []sweep) ([]setting, error) {
	combinations := [][]string{nil}
	for _, w := range sweeps {
		var more [][]string
		for _, before := range combinations {
			for _, v := range w.Values {
				more = append(more, append(slices.Clone(before), v))
			}
		}
		combinations = more
	}
	var all []setting
	for _, values := range combinations {
		at := setting{source: &source{name: s.name, files: slices.Clone(s.files), inputs: s.inputs}}
		at.source.inputs.Vars = maps.Clone(s.inputs.Vars)
		var words []string
		for i, v := range values {
			words = append(words, sweeps[i].Name+"="+v)
			if err := at.set(sweeps[i].Name, v); err != nil {
				return nil, err
			}
		}
		at.values = strings.Join(words, " ")
		var err error
		if at.lab, at.files, err = c.load(at.source); err != nil {
			if at.values != "" {
				c.say("so it is at %s", at.values)
			}
			return nil, err
		}
		all = append(all, at)
	}
	return all, nil
}

// set gives one of the swept a value: a variable of that name, or else the attribute of every switch.
func (at *setting) set(name, value string) error {
	switch name {
	case lab.Firewall:
		at.bare = value == "off"
		return nil
	case lab.Proxy:
		at.proxy = value
		return nil
	}
	var files []*hclwrite.File
	var switches []*hclwrite.Block
	for _, f := range at.source.files {
		file, diags := hclwrite.ParseConfig(f.Text, f.Name, hcl.InitialPos)
		if diags.HasErrors() {
			return nil // which loading it will say with its place
		}
		files = append(files, file)
		for _, b := range file.Body().Blocks() {
			switch {
			case b.Type() == "variable" && slices.Equal(b.Labels(), []string{name}):
				if at.source.inputs.Vars == nil {
					at.source.inputs.Vars = map[string]string{}
				}
				at.source.inputs.Vars[name] = value
				return nil
			case b.Type() == "switch":
				switches = append(switches, b)
			}
		}
	}
	switch {
	case len(switches) == 0:
		return refuse("--sweep %s: the definition has neither a variable of that name nor a switch", name)
	case name == "wire":
		return refuse("--sweep wire: every wire model is measured for itself; choose them with --wire")
	}
	v := cty.StringVal(value)
	if number, err := cty.ParseNumberVal(value); err == nil {
		v = number
	}
	for _, b := range switches {
		unfold(b.Body())
		b.Body().SetAttributeValue(name, v)
	}
	for i, file := range files {
		at.source.files[i].Text = file.Bytes()
	}
	return nil
}

// unfold gives a body that stands in one line with its block, which may hold a single attribute, lines of its own.
func unfold(body *hclwrite.Body) {
	for _, t := range body.BuildTokens(nil) {
		if t.Type == hclsyntax.TokenNewline {
			return
		}
	}
	given := map[string]hclwrite.Tokens{}
	for name, a := range body.Attributes() {
		given[name] = a.Expr().BuildTokens(nil)
		body.RemoveAttribute(name)
	}
	body.AppendNewline()
	for name, tokens := range given {
		body.SetAttributeRaw(name, tokens)
	}
}

// title is what a mode is called at this setting.
func (at setting) title(mode string) string {
	if at.values == "" {
		return mode
	}
	return fmt.Sprintf("%s %s", mode, at.values)
}

// stripped takes the rules away where the setting is without them.
func (at setting) stripped(p *plan.Plan) *plan.Plan {
	if p != nil && at.bare {
		p.State.RemoveRulesets()
	}
	return p
}
