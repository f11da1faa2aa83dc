package testbed

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed/cgroup"
)

// Probe asks the kernel what it has, by trying it in a namespace that is thrown away. Unless load is set it tries nothing
// that would make the kernel load a module.
func Probe(load bool) (plan.Features, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	f := plan.Features{}
	err := onThread(func(t *thread) error {
		if err := t.leave(); err != nil {
			return fmt.Errorf("making a namespace to probe the kernel in: %w", err)
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		for _, p := range probes() {
			if !load && !present(p.modules) {
				continue
			}
			if err := p.try(h); err == nil {
				f[p.feature] = true
			} else if errors.Is(err, unix.EPERM) && p.feature == plan.FeatureEBPF {
				f[plan.BPFRefused] = true
			} else if errors.Is(err, errNotRoots) {
				f[plan.IPVSRefused] = true
			} else if errors.Is(err, unix.EACCES) && p.feature == plan.FeatureTUN {
				f[plan.TUNRefused] = true
			} else if errors.Is(err, unix.EPERM) {
				return fmt.Errorf("probing the kernel for %s: %w", p.feature, err)
			}
		}
		return nil
	})
	controllers, refused := cgroup.Has()
	for _, c := range controllers {
		f[map[string]plan.Feature{cgroup.Memory: plan.FeatureMemory, cgroup.CPU: plan.FeatureCPU, cgroup.PIDs: plan.FeaturePIDs}[c]] = true
	}
	if errors.Is(refused, cgroup.ErrRefused) {
		f[plan.CgroupRefused] = true
	}
	return f, err
}

// probes are those of all kinds and types of links.
func probes() []probe {
	all := slices.Concat(qdiscProbes, firewallProbes, programProbes, sysctlProbes, ipvsProbes())
	for _, name := range slices.Sorted(maps.Keys(linkTypes)) {
		all = append(all, linkTypes[name].probes...)
	}
	return all
}

// present reports whether the modules are loaded or built in, so that trying what they do loads nothing.
func present(modules []string) bool {
	loaded, err := os.ReadFile("/proc/modules")
	if errors.Is(err, os.ErrNotExist) {
		return true // a kernel without modules
	}
	builtin, _ := os.ReadFile(filepath.Join("/lib/modules", Kernel(), "modules.builtin"))
	for _, m := range modules {
		_, err := os.Stat("/sys/module/" + m)
		if err != nil && !strings.Contains("\n"+string(loaded), "\n"+m+" ") && !strings.Contains(string(builtin), "/"+m+".ko") {
			return false
		}
	}
	return true
}

// Kernel is the running kernel's release.
func Kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
