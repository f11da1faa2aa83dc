package holder

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestForbidden: of each way to forbid users their namespaces, what is said names what was set, and what would change it.
func TestForbidden(t *testing.T) {
	const restrict, clone = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "/proc/sys/kernel/unprivileged_userns_clone"
	for name, tt := range map[string]struct {
		err    error
		files  map[string]string
		reason string
		remedy string
	}{
		"Debian's sysctl":      {unix.EPERM, map[string]string{clone: "0\n"}, "kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		"it is not set":        {unix.EPERM, map[string]string{clone: "1\n", restrict: "0\n"}, "The kernel refuses", "seccomp"},
		"AppArmor":             {said{"own mounts: permission denied", unix.EACCES}, map[string]string{clone: "1\n", restrict: "1\n"}, "apparmor_restrict_unprivileged_userns is 1", "profile"},
		"a limit":              {unix.ENOSPC, map[string]string{"/proc/sys/user/max_user_namespaces": "0\n"}, "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces="},
		"of network":           {unix.ENOSPC, map[string]string{"/proc/sys/user/max_user_namespaces": "100\n", "/proc/sys/user/max_net_namespaces": "0\n"}, "user.max_net_namespaces is 0", "sysctl -w user.max_net_namespaces="},
		"too many":             {unix.ENOSPC, map[string]string{"/proc/sys/user/max_user_namespaces": "100\n"}, "as many namespaces", "raise"},
		"Docker":               {unix.EPERM, map[string]string{"/.dockerenv": ""}, "container", "seccomp=unconfined"},
		"Docker's masked proc": {said{"mounting a /proc: operation not permitted", unix.EPERM}, map[string]string{"/.dockerenv": ""}, "container", "systempaths=unconfined"},
		"podman":               {unix.EPERM, map[string]string{"/run/.containerenv": ""}, "container", "seccomp=unconfined"},
		"systemd-nspawn":       {unix.EPERM, map[string]string{"/proc/1/environ": "PATH=/bin\x00container=systemd-nspawn\x00"}, "container", "capabilities"},
		"nobody knows":         {unix.EPERM, nil, "The kernel refuses", "administrator"},
	} {
		err := forbidden(tt.err, func(path string) ([]byte, error) {
			text, ok := tt.files[path]
			if !ok {
				return nil, os.ErrNotExist
			}
			return []byte(text), nil
		})
		var f *Forbidden
		if !errors.As(err, &f) || !strings.Contains(f.Reason, tt.reason) || !strings.Contains(f.Remedy, tt.remedy) || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := forbidden(unix.EIO, os.ReadFile); err != unix.EIO {
		t.Errorf("a disk error is no prohibition: %v", err)
	}
}
