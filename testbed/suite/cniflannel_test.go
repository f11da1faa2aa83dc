package suite

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"labnet/lab/plan"
	"labnet/testbed"
)

// flannelsPlugin does what flannel's CNI plugin does: it has the bridge plugin attach the pod, with what flanneld says of the
// node in the subnet file, and keeps what it told it for DEL.
const flannelsPlugin = `#!/bin/bash
set -eu
config=$(cat)
kept=/var/lib/cni/flannel/$CNI_CONTAINERID
if [ "$CNI_COMMAND" = ADD ]; then
  . /run/flannel/subnet.env
  masq=true; [ "$FLANNEL_IPMASQ" = true ] && masq=false
  mkdir -p /var/lib/cni/flannel
  cat >"$kept" <<EOF
{"cniVersion": "1.0.0", "name": "cbr0", "type": "bridge", "hairpinMode": true, "isDefaultGateway": true, "isGateway": true,
 "ipMasq": $masq, "mtu": $FLANNEL_MTU, "ipam": {"type": "host-local", "ranges": [[{"subnet": "${FLANNEL_SUBNET%.*}.0/${FLANNEL_SUBNET#*/}"}]], "routes": [{"dst": "$FLANNEL_NETWORK"}]}}
EOF
fi
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"]}' ;;
ADD) bridge <"$kept" ;;
DEL) [ ! -e "$kept" ] || { bridge <"$kept"; rm "$kept"; } ;;
esac
`

// TestFlannelsPlugin: the shipped lab stands on what flannel's plugin does, which reads in each node what the lab says of it. The
// machine has none of that.
func TestFlannelsPlugin(t *testing.T) {
	needRoot(t)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "flannel"), []byte("#!/bin/sh\nPATH=\""+PluginFolder()+":$PATH\" exec "+filepath.Join(folder, "plugin")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "plugin"), []byte(flannelsPlugin), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CNI_PATH", folder+":"+PluginFolder())
	l := load(t, "cni-flannel")
	p := planned(t, l, "flannel", "")
	up(t, p)
	healthy(t, p)
	out, err := exec.Command("ip", "-n", p.Cluster.Name+".node2.p1", "-d", "link", "show", "eth0").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "mtu 1500") {
		t.Errorf("node2/p1 has %s", out)
	}
	if _, err := os.Stat("/run/flannel"); err == nil {
		t.Error("the machine has /run/flannel")
	}
	up(t, p) // which changes nothing
}

// TestFilesOfTheMachine: a node's file takes the place of the machine's for its plugins alone, and does no harm to it.
func TestFilesOfTheMachine(t *testing.T) {
	needRoot(t)
	before, err := os.ReadFile("/etc/hostname")
	if err != nil {
		t.Skip("this machine has no /etc/hostname")
	}
	folder := t.TempDir()
	plugin := "#!/bin/sh\n[ \"$CNI_COMMAND\" != ADD ] || { [ \"$(cat /etc/hostname /etc/lab/deep/of)\" = \"I am $(hostname).\" ] && [ -e /etc/passwd ]; } || { echo '{\"code\": 100, \"msg\": \"what is read is not what was given\"}'; exit 1; }\n" +
		"PATH=\"" + PluginFolder() + ":$PATH\" exec bridge\n"
	if err := os.WriteFile(filepath.Join(folder, "asks"), []byte(plugin), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CNI_PATH", folder+":"+PluginFolder())
	settings := conflist("\n  files = { \"/etc/hostname\" = \"I am \", \"/etc/lab/deep/of\" = \"${node.name}.\" }",
		`{ type = "asks", bridge = "cni0", isGateway = true, `+blockOfNode+` }`)
	p := planned(t, parse(t, "plugged.hcl", cniLab(settings)), "files", "")
	up(t, p)
	healthy(t, p)
	fewer := strings.Replace(settings, "\"/etc/hostname\" = \"I am \", ", "", 1)
	less := built(t, parse(t, "plugged.hcl", cniLab(fewer)), "files", "")
	if err := testbed.Apply(t.Context(), pending(t, less), func(plan.Change) {}); err == nil || !strings.Contains(err.Error(), "not what was given") {
		t.Errorf("a plugin finds a file that is no longer given: %v", err)
	}
	if after, err := os.ReadFile("/etc/hostname"); err != nil || string(after) != string(before) {
		t.Errorf("the machine's /etc/hostname is %q, and was %q", after, before)
	}
	if _, err := os.Stat("/etc/lab/deep"); err == nil {
		t.Error("the machine has /etc/lab/deep")
	}
}
