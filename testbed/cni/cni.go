// Package cni calls CNI plugins as a container runtime does, for one node: with libcni, which keeps what they answered in the
// node's folder. How a plugin is started, and in which namespaces, is its caller's.
package cni

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"labnet/lab/plan"
)

// Node is where the attachments of a node are kept, and how its plugins are started.
type Node struct {
	Folder string
	Start  Start
}

// Record is an attachment as it was made, or as it was begun.
type Record struct {
	Attachment plan.Attachment `json:"attachment"`
	Done       bool            `json:"done"`
	plan.Attached
}

const recorded = ".attachment.json"

func (n Node) path(pod string) string { return filepath.Join(n.Folder, pod+recorded) }

// Records are the attachments of the node, by the names of the pods.
func (n Node) Records() ([]Record, error) {
	paths, err := filepath.Glob(filepath.Join(n.Folder, "*"+recorded))
	if err != nil {
		return nil, err
	}
	var all []Record
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		var r Record
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			return nil, fmt.Errorf("the record of an attachment, %s: %w", path, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func (n Node) save(r Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := n.path(r.Attachment.Pod)
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// call is one call of libcni, with what it needs.
type call struct {
	node   Node
	of     plan.Attachment
	config plan.CNI
	lib    *libcni.CNIConfig
	list   *libcni.NetworkConfigList
	rt     *libcni.RuntimeConf
	each   *starter
}

func (n Node) call(a plan.Attachment, netns string) (*call, error) {
	config, err := a.Wanted()
	if err != nil {
		return nil, err
	}
	list, err := libcni.NetworkConfFromBytes(config.Conflist)
	if err != nil {
		return nil, fmt.Errorf("the conflist of %s: %w", title(a), err)
	}
	timeout, err := time.ParseDuration(config.Timeout)
	if err != nil {
		return nil, err
	}
	files, err := n.give(config.Files)
	if err != nil {
		return nil, err
	}
	each := &starter{start: n.Start, files: files, timeout: timeout, title: title(a)}
	rt := &libcni.RuntimeConf{
		ContainerID: a.Into, NetNS: netns, IfName: config.Device, CapabilityArgs: config.Capabilities,
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", a.Pod}, {"K8S_POD_INFRA_CONTAINER_ID", a.Into}},
	}
	for _, name := range sorted(config.Args) {
		rt.Args = append(rt.Args, [2]string{name, config.Args[name]})
	}
	cache := filepath.Join(n.Folder, "cache")
	return &call{n, a, config, libcni.NewCNIConfigWithCacheDir(Path(config.Path), cache, each), list, rt, each}, nil
}

// give puts down the files that the node's plugins find there, and returns the folder with them; empty where there are none. A
// folder is whole, and has no others: several plugins may be called at once, and another definition has other files.
func (n Node) give(files map[string]string) (folder string, err error) {
	if len(files) == 0 {
		return "", nil
	}
	text, err := json.Marshal(files)
	if err != nil {
		return "", err
	}
	all := filepath.Join(n.Folder, "files")
	folder = filepath.Join(all, fmt.Sprintf("%x", sha256.Sum256(text)))
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	if err := os.MkdirAll(all, 0o755); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(all, "new")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	for path, text := range files {
		at := filepath.Join(made, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	if err := os.Rename(made, folder); err != nil && !errors.Is(err, fs.ErrExist) { // somebody else was sooner
		return "", err
	}
	return folder, nil
}

// title is how a person names the pod: node1/p1.
func title(a plan.Attachment) string { return machine(a) + "/" + a.Pod }

func machine(a plan.Attachment) string {
	_, name, _ := strings.Cut(a.Namespace, ".")
	return name
}

// Path are the folders in which plugins are looked for: those of the definition, or else those where they usually are, and
// where make cni puts them.
func Path(asked []string) []string {
	if len(asked) > 0 {
		return asked
	}
	path := filepath.SplitList(os.Getenv("CNI_PATH"))
	if self, err := os.Executable(); err == nil {
		path = append(path, filepath.Join(filepath.Dir(self), "cni"))
	}
	return append(path, "/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
}

// Executables are the plugins of a conflist, and those that they hand addresses out with.
func Executables(c plan.CNI) (files []string, err error) {
	var list struct {
		Plugins []struct {
			Type string
			IPAM json.RawMessage // what it is only its plugin can say
		}
	}
	if err := json.Unmarshal(c.Conflist, &list); err != nil {
		return nil, err
	}
	path := Path(c.Path)
	var missing []string
	for _, p := range list.Plugins {
		var ipam struct{ Type string }
		_ = json.Unmarshal(p.IPAM, &ipam)
		for _, name := range []string{p.Type, ipam.Type} {
			switch file := find(name, path); {
			case name == "" || slices.Contains(missing, name) || slices.Contains(files, file):
			case file == "":
				missing = append(missing, name)
			default:
				files = append(files, file)
			}
		}
	}
	if len(missing) == 0 {
		return files, nil
	}
	what := "plugin"
	if len(missing) > 1 {
		what += "s"
	}
	return nil, fmt.Errorf("CNI %s %s: there is no such executable in %s; give their folder as path = [\"…\"] in the mode block, build the usual ones with \"make cni\", or install them (Debian: containernetworking-plugins)",
		what, strings.Join(missing, ", "), strings.Join(path, ", "))
}

// Usual says where the usual plugins come from, where there are none.
func Usual() (remedy string) {
	path := Path(nil)
	if find("bridge", path) != "" {
		return ""
	}
	return fmt.Sprintf("It works with plugins of yours. The usual ones are in none of %s: build them with \"make cni\", or install them (Debian: containernetworking-plugins).", strings.Join(path, ", "))
}

func find(name string, path []string) string {
	for _, folder := range path {
		file := filepath.Join(folder, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

// Add attaches a pod, and says for how long its plugins have worked; mtu is asked for that of its interface once it is there.
// What a failed ADD has made is taken back.
func (n Node) Add(ctx context.Context, a plan.Attachment, netns string, mtu func(device string) (int, error)) (time.Duration, error) {
	if err := os.MkdirAll(n.Folder, 0o755); err != nil {
		return 0, err
	}
	c, err := n.call(a, netns)
	if err != nil {
		return 0, err
	}
	others, err := n.Records()
	if err != nil {
		return 0, err
	}
	r := Record{Attachment: a}
	if err := n.save(r); err != nil { // so that a later command ends what this one may not come to
		return 0, err
	}
	result, err := c.lib.AddNetworkList(ctx, c.list, c.rt)
	worked := c.each.worked
	if err = c.each.explain("ADD", err); err == nil {
		r.Addresses, r.Gateways, err = c.addresses(result, others)
	}
	if err == nil {
		if r.MTU, err = mtu(c.config.Device); err != nil {
			err = fmt.Errorf("plugin %s, ADD for %s: it reported success, and the pod has no interface %s: %w", c.each.last, title(a), c.config.Device, err)
		}
	}
	if err == nil {
		r.Done = true
		return worked, n.save(r)
	}
	if undo := n.del(context.WithoutCancel(ctx), c); undo != nil {
		err = fmt.Errorf("%w; taking it back failed too: %w", err, undo)
	}
	return worked, err
}

// addresses are those of the result and their gateways, one for each of the node's blocks.
func (c *call) addresses(result types.Result, others []Record) ([]netip.Prefix, []netip.Addr, error) {
	wrong := func(format string, args ...any) ([]netip.Prefix, []netip.Addr, error) {
		return nil, nil, fmt.Errorf("plugin %s, ADD for %s: %s", c.each.last, title(c.of), fmt.Sprintf(format, args...))
	}
	full, err := types100.NewResultFromResult(result)
	if err != nil {
		return wrong("its result cannot be read: %v", err)
	}
	taken := map[netip.Addr]string{}
	for _, r := range others {
		for _, a := range r.Addresses {
			if r.Attachment.Pod != c.of.Pod {
				taken[a.Addr()] = title(r.Attachment)
			}
		}
	}
	found, gateways := make([]netip.Prefix, len(c.config.Within)), make([]netip.Addr, len(c.config.Within))
	for _, ip := range full.IPs {
		addr, ok := netip.AddrFromSlice(ip.Address.IP)
		bits, _ := ip.Address.Mask.Size()
		if addr = addr.Unmap(); !ok {
			return wrong("%v is no address", ip.Address.IP)
		}
		at := slices.IndexFunc(c.config.Within, func(p netip.Prefix) bool { return p.Contains(addr) })
		switch {
		case at < 0:
			return wrong("it returned the address %s, which is not one of the node's block %s: use node.pod_cidr in the conflist", addr, prefixes(c.config.Within))
		case taken[addr] != "":
			return wrong("it returned the address %s, which %s has", addr, taken[addr])
		case !found[at].IsValid():
			found[at] = netip.PrefixFrom(addr, bits)
			if gateway, ok := netip.AddrFromSlice(ip.Gateway); ok {
				gateways[at] = gateway.Unmap()
			}
		}
	}
	for i, block := range c.config.Within {
		if !found[i].IsValid() {
			return wrong("it returned no address of %s", block)
		}
	}
	return found, gateways, nil
}

func prefixes(all []netip.Prefix) string {
	var text []string
	for _, p := range all {
		text = append(text, p.String())
	}
	return strings.Join(text, ", ")
}

// Del detaches a pod as it was attached, and says for how long its plugins have worked. netns is empty where its namespace is
// gone.
func (n Node) Del(ctx context.Context, pod, netns string) (time.Duration, error) {
	all, err := n.Records()
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		if r.Attachment.Pod != pod {
			continue
		}
		c, err := n.call(r.Attachment, netns)
		if err != nil {
			return 0, err
		}
		err = n.del(ctx, c)
		return c.each.worked, err
	}
	return 0, nil
}

func (n Node) del(ctx context.Context, c *call) error {
	if err := c.each.explain("DEL", c.lib.DelNetworkList(ctx, c.list, c.rt)); err != nil {
		return err
	}
	return os.Remove(n.path(c.of.Pod))
}
