// Package cni lets plugins of anybody's connect the pods, as a container runtime would call them: executables that the
// definition names, with a network configuration list which is evaluated for each node.
//
// What the plugins make is theirs. The plan has an attachment for each pod, and with routes = "host-gw" the routes that
// host-gw has; with routes = "none" the plugins, or a daemon that the definition runs, have to connect the nodes. A pod's
// addresses are those that its plugins return, which have to be of the node's blocks; until they have, the plan takes the ones
// that host-local would give.
//
// What is promised is what Kubernetes asks of a network: every pod and node reaches every pod without translation of addresses.
// Where the plugins do otherwise, an expect block says so.
package cni

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// Who connects the nodes.
const (
	routesHostGW = "host-gw" // the plan: a route to every other node's block, as in mode host-gw
	routesNone   = "none"    // the plugins, or a daemon
)

// defaultTimeout is how long a plugin may take.
const defaultTimeout = 10 * time.Second

// Mode is the mode with its settings; the zero value knows only how to decode them.
type Mode struct {
	set     settings
	ctx     *hcl.EvalContext
	timeout time.Duration
}

type settings struct {
	Conflist     *hcl.Attribute    `hcl:"conflist,optional"`
	Path         []string          `hcl:"path,optional"`
	PathAt       hcl.Range         `hcl:"path,attr_value_range"`
	Routes       string            `hcl:"routes,optional"`
	RoutesAt     hcl.Range         `hcl:"routes,attr_value_range"`
	Args         map[string]string `hcl:"args,optional"`
	ArgsAt       hcl.Range         `hcl:"args,attr_value_range"`
	Capabilities *hcl.Attribute    `hcl:"capabilities,optional"`
	Files        *hcl.Attribute    `hcl:"files,optional"`
	Timeout      string            `hcl:"timeout,optional"`
	TimeoutAt    hcl.Range         `hcl:"timeout,attr_value_range"`
	Expect       *promise          `hcl:"expect,block"`
}

func (Mode) About() string {
	return "CNI plugins of your own, called as a container runtime would"
}

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	m := Mode{ctx: ctx, timeout: defaultTimeout}
	diags := gohcl.DecodeBody(body, ctx, &m.set)
	wrong := func(at hcl.Range, summary, detail string, args ...any) {
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: &at})
	}
	switch m.set.Routes {
	case "":
		m.set.Routes = routesHostGW
	case routesHostGW, routesNone:
	default:
		wrong(m.set.RoutesAt, "Unknown routes", "There are no routes %q.%s", m.set.Routes, lab.Suggest(m.set.Routes, []string{routesHostGW, routesNone}, "There are"))
	}
	for _, folder := range m.set.Path {
		if !filepath.IsAbs(folder) || strings.ContainsAny(folder, ":\x00") {
			wrong(m.set.PathAt, "Invalid path", "%q is not the whole path of a folder, such as \"/opt/cni/bin\".", folder)
		}
	}
	for name, value := range m.set.Args {
		if !argument.MatchString(name) || strings.ContainsAny(value, ";\x00") {
			wrong(m.set.ArgsAt, "Invalid argument", "%s=%s cannot be an argument: a name has letters, digits and \"_\", and a value no \";\".", name, value)
		}
	}
	if m.set.Timeout != "" {
		d, err := time.ParseDuration(m.set.Timeout)
		if m.timeout = d; err != nil || d < 100*time.Millisecond || d > 10*time.Minute {
			wrong(m.set.TimeoutAt, "Invalid timeout", "%q is not a time from 100ms to 10m.", m.set.Timeout)
		}
	}
	if m.set.Expect != nil {
		diags = append(diags, m.set.Expect.check()...)
	}
	return m, diags
}

var argument = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (Mode) Needs(*plan.Net) []plan.Need { return nil }

// Allocate gives the pods the addresses that host-local would; what the plugins return takes their places.
func (m Mode) Allocate(c *plan.Net) hcl.Diagnostics {
	if m.set.Conflist == nil {
		return hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "No conflist", Subject: c.Def.At.Of("mode", c.Def.Range).Ptr(),
			Detail: "Mode cni needs to know the plugins and their configuration. Add:\n\n  mode \"cni\" {\n    conflist = file(\"10-mynet.conflist\")\n  }",
		}}
	}
	return attach.AllocateBridge(c)
}

func (m Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	var diags hcl.Diagnostics
	if m.set.Routes == routesHostGW {
		diags = append(attach.OneSegment(c, "cni with routes = \"host-gw\""), attach.Families(c)...)
	}
	if diags = append(diags, attach.Room(c, "cni", m.room)...); diags.HasErrors() {
		return diags
	}
	for _, n := range c.Nodes {
		list, more := m.conflist(c, n)
		if diags = append(diags, more...); more.HasErrors() {
			return diags
		}
		files, more := m.files(c, n)
		if diags = append(diags, more...); more.HasErrors() {
			return diags
		}
		for i, p := range n.NICs {
			handed, more := m.capabilities(c, n, p, i)
			if diags = append(diags, more...); more.HasErrors() {
				return diags
			}
			s.Add(plan.Attachment{
				Namespace: n.Namespace, Pod: p.Pod.Pod.Name, Into: p.Namespace, On: n.Uplink().Name, Config: plan.Config(m.call(n, p, list, files, handed)),
			})
		}
		if m.set.Routes == routesHostGW {
			attach.Routes(c, s, n)
		}
	}
	return diags
}

// call is how the plugins are called for a pod.
func (m Mode) call(n *plan.Member, p *plan.NIC, list json.RawMessage, files map[string]string, handed map[string]cty.Value) plan.CNI {
	config := plan.CNI{
		Device: p.Device, Conflist: list, Path: m.set.Path, Files: files, Within: n.PodCIDRs, Timeout: m.timeout.String(), Args: map[string]string{}, Capabilities: map[string]any{},
	}
	var ranges [][]map[string]string
	for _, block := range n.PodCIDRs {
		ranges = append(ranges, []map[string]string{{"subnet": block.String()}})
	}
	config.Capabilities["ipRanges"] = ranges
	if len(p.Asked) > 0 {
		var asked, plain []string
		for i, block := range n.PodCIDRs {
			for _, a := range p.Asked {
				if block.Contains(a) {
					asked, plain = append(asked, netip.PrefixFrom(a, n.PodCIDRs[i].Bits()).String()), append(plain, a.String())
				}
			}
		}
		config.Capabilities["ips"], config.Args["IP"] = asked, strings.Join(plain, ",")
	}
	for name, v := range handed {
		config.Capabilities[name] = ctyjson.SimpleJSONValue{Value: v}
	}
	for name, value := range m.set.Args {
		config.Args[name] = value
	}
	return config
}

// Publishing: a runtime hands ports to the plugin portmap.
func (Mode) Publishing() string {
	return "In mode cni ports are published by the plugin portmap, which is handed them for each pod: capabilities = { portMappings = pod.name == \"web\" ? [{ hostPort = 8080, containerPort = 80, protocol = \"tcp\" }] : [] }. Remove \"publish\"."
}

// capabilities evaluates what a runtime hands over for a pod.
func (m Mode) capabilities(c *plan.Net, n *plan.Member, p *plan.NIC, index int) (map[string]cty.Value, hcl.Diagnostics) {
	if m.set.Capabilities == nil {
		return nil, nil
	}
	ctx := m.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"node": m.node(c, n), "pod": cty.ObjectVal(map[string]cty.Value{
		"name": cty.StringVal(p.Pod.Pod.Name), "index": cty.NumberIntVal(int64(index)),
	})}
	v, diags := m.set.Capabilities.Expr.Value(ctx)
	switch {
	case diags.HasErrors():
		return nil, diags
	case v.IsNull():
		return nil, nil
	case !v.IsWhollyKnown() || !v.Type().IsObjectType() && !v.Type().IsMapType():
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Wrong type", Subject: m.set.Capabilities.Expr.Range().Ptr(),
			Detail: "\"capabilities\" must be an object with what runtimes hand over, like { bandwidth = { … } }.",
		}}
	}
	return v.AsValueMap(), nil
}

// conflist evaluates the configuration for a node.
func (m Mode) conflist(c *plan.Net, n *plan.Member) (json.RawMessage, hcl.Diagnostics) {
	at := m.set.Conflist.Expr.Range()
	wrong := func(summary, detail string, args ...any) (json.RawMessage, hcl.Diagnostics) {
		return nil, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: &at}}
	}
	ctx := m.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"node": m.node(c, n)}
	v, diags := m.set.Conflist.Expr.Value(ctx)
	if diags.HasErrors() {
		return nil, diags
	}
	var text []byte
	switch ty := v.Type(); {
	case !v.IsWhollyKnown() || v.IsNull():
		return wrong("No conflist", "It has no value.")
	case ty == cty.String:
		text = []byte(v.AsString())
	case ty.IsObjectType() || ty.IsMapType():
		var err error
		if text, err = ctyjson.Marshal(v, ty); err != nil {
			return wrong("Invalid conflist", "%v.", err)
		}
	default:
		return wrong("Wrong type", "\"conflist\" must be JSON in a string, as file(\"10-mynet.conflist\") gives it, or an object.")
	}
	list, why := listOf(text)
	if why != "" {
		return wrong("Invalid conflist", "For node %s: %s.", n.Name, why)
	}
	return list, nil
}

// mostFiles is how many plugins can be given in their node.
const mostFiles = 16

// files evaluates what a node's plugins find there.
func (m Mode) files(c *plan.Net, n *plan.Member) (map[string]string, hcl.Diagnostics) {
	if m.set.Files == nil {
		return nil, nil
	}
	wrong := func(summary, detail string, args ...any) (map[string]string, hcl.Diagnostics) {
		return nil, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: m.set.Files.Expr.Range().Ptr()}}
	}
	ctx := m.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"node": m.node(c, n)}
	v, diags := m.set.Files.Expr.Value(ctx)
	switch {
	case diags.HasErrors():
		return nil, diags
	case v.IsNull():
		return nil, nil
	case !v.IsWhollyKnown() || !v.Type().IsObjectType() && !v.Type().IsMapType():
		return wrong("Wrong type", "\"files\" must be an object of texts by their paths, like { \"/run/flannel/subnet.env\" = \"…\" }.")
	case v.LengthInt() > mostFiles:
		return wrong("Too many files", "There are %d files; plugins can be given at most %d.", v.LengthInt(), mostFiles)
	}
	files := map[string]string{}
	for path, text := range v.AsValueMap() {
		switch {
		case text.IsNull() || text.Type() != cty.String:
			return wrong("Wrong type", "%s must be a text.", path)
		case !ownable(path):
			return wrong("Invalid path", "%q cannot be a file of a node. Give its whole path, such as \"/run/flannel/subnet.env\": not in /dev, /proc or /sys, nor where a node's plugins keep theirs.", path)
		}
		files[path] = text.AsString()
	}
	for path := range files {
		for folder := filepath.Dir(path); folder != "/"; folder = filepath.Dir(folder) {
			if _, ok := files[folder]; ok {
				return wrong("Invalid path", "%s is a file, and cannot be the folder of %s.", folder, path)
			}
		}
	}
	return files, nil
}

// ownable reports whether a node may have a file of its own there.
func ownable(path string) bool {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || filepath.Dir(path) == "/" || strings.ContainsAny(path, "\x00\n") || len(path) > 200 {
		return false
	}
	return !slices.ContainsFunc([]string{"/dev", "/proc", "/sys", "/var/run", "/var/lib/cni", "/etc/cni/net.d", "/run/cni"}, func(not string) bool {
		return path == not || strings.HasPrefix(path, not+"/")
	})
}

func (m Mode) node(c *plan.Net, n *plan.Member) cty.Value {
	var blocks []cty.Value
	for _, block := range n.PodCIDRs {
		blocks = append(blocks, cty.StringVal(block.String()))
	}
	address := cty.NullVal(cty.String)
	if a := n.Uplink().Addresses; len(a) > 0 {
		address = cty.StringVal(a[0].Addr().String())
	}
	return cty.ObjectVal(map[string]cty.Value{
		"name": cty.StringVal(n.Name), "index": cty.NumberIntVal(int64(n.Index)), "address": address,
		"pod_cidr": blocks[0], "pod_cidrs": cty.ListVal(blocks), "mtu": cty.NumberIntVal(int64(c.PodMTU(m.room(n.Node)))),
	})
}

// listOf reads a configuration. One for a single plugin becomes a list of it, as runtimes make one.
func listOf(text []byte) (list json.RawMessage, why string) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, "it is not JSON: " + err.Error()
	}
	if _, lists := fields["plugins"]; !lists && fields["type"] != nil {
		wrapped := map[string]json.RawMessage{"name": fields["name"], "cniVersion": fields["cniVersion"]}
		wrapped["plugins"], _ = json.Marshal([]json.RawMessage{text})
		text, _ = json.Marshal(wrapped)
	}
	var read struct {
		Name       string
		CNIVersion string
		Plugins    []struct{ Type string }
	}
	if err := json.Unmarshal(text, &read); err != nil {
		return nil, err.Error()
	}
	switch {
	case !networkName.MatchString(read.Name):
		return nil, fmt.Sprintf("%q cannot be its \"name\", which has letters, digits, \"_\", \".\" and \"-\"", read.Name)
	case read.CNIVersion == "":
		return nil, "it has no \"cniVersion\", such as \"1.0.0\""
	case len(read.Plugins) == 0:
		return nil, "it has no \"plugins\""
	case slices.ContainsFunc(read.Plugins, func(p struct{ Type string }) bool { return p.Type == "" || strings.Contains(p.Type, "/") }):
		return nil, "a plugin has no \"type\", which is the name of its executable"
	}
	return text, ""
}

var networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`)
