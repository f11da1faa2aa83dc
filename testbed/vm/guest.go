package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	guestInit = "/init" // where the kernel looks for its first program
	jobFile   = "/job"
	hostTag   = "host" // what the host's files are called
	exitPort  = 0xf4   // a byte written here ends the machine, and is its exit status
)

// job is what the host tells the guest.
type job struct {
	Dir     string
	Program []string
	Env     []string
	First   []string // modules without which the host's files are not seen, in loading order
	Modules string   // the folder of all modules, among the host's files
}

// modules are loaded before the program starts: lab's probe takes what is not loaded for missing, so that asking changes
// nothing. Add here what a test needs.
var modules = []string{
	"bridge", "br_netfilter", "veth", "vxlan", "geneve", "ipip", "8021q", "ipvlan", "macvlan", "dummy", "ifb", "tun", "vrf",
	"sch_netem", "sch_tbf", "sch_fq", "sch_fq_codel", "sch_htb", "sch_ingress", "cls_bpf", "cls_flower", "act_mirred", "act_bpf",
	"nf_tables", "nft_chain_nat", "nft_masq", "nft_nat", "nft_redir", "nft_ct", "nft_fib_inet", "nft_reject_inet", "nft_limit", "nft_log", "nft_compat",
	"nft_numgen", "nft_hash", "nft_dup_netdev", "nft_fwd_netdev", "nft_flow_offload", "nf_conntrack_bridge", "nf_conntrack_netlink", "nft_meta_bridge",
	"xt_comment", "xt_conntrack", "xt_addrtype", "xt_statistic", "xt_recent", "xt_mark", "xt_nat", "xt_MASQUERADE", "xt_tcpudp", "ipt_REJECT", "ip6t_REJECT",
	"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_lblc", "ip_vs_lblcr", "ip_vs_sh", "ip_vs_dh", "ip_vs_sed", "ip_vs_nq", "ip_vs_mh",
	"ip_set", "ip_set_hash_ip", "ip_set_hash_ipport", "ip_set_hash_ipportip", "ip_set_hash_ipportnet", "ip_set_bitmap_port", "xt_set",
}

// settings are what administrators set for their own network, and what a new namespace takes from it: those of a hardened
// machine, of a node of kube-proxy, and of a balancer's server.
var settings = map[string]string{
	"net/core/devconf_inherit_init_net": "1", // in IPv6 too
	"net/ipv4/ip_forward":               "1",
	"net/ipv6/conf/%/accept_redirects":  "0", "net/ipv6/conf/%/proxy_ndp": "1",
	"net/ipv4/conf/%/accept_redirects": "0", "net/ipv4/conf/%/send_redirects": "0", "net/ipv4/conf/%/rp_filter": "1",
	"net/ipv4/conf/%/arp_announce": "2", "net/ipv4/conf/%/arp_filter": "1", "net/ipv4/conf/%/arp_ignore": "1", "net/ipv4/conf/%/drop_gratuitous_arp": "1",
	"net/ipv4/conf/%/ignore_routes_with_linkdown": "1", "net/ipv4/conf/%/promote_secondaries": "1", "net/ipv4/conf/%/route_localnet": "1",
}

// guest is the guest's first program. It never returns: the machine ends with it.
func guest() {
	code, err := serve()
	if err != nil {
		fmt.Println("vm: in the guest:", err)
		code = failed
	}
	_ = unix.IoctlSetInt(1, unix.TCSBRK, 1) // until the console has got everything out
	if port, err := os.OpenFile("/dev/port", os.O_WRONLY, 0); err == nil {
		_, _ = port.WriteAt([]byte{byte(code)}, exitPort)
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // which the host takes for death
}

func serve() (int, error) {
	for _, m := range []mount{{"proc", "proc", "/proc", ""}, {"sysfs", "sys", "/sys", ""}, {"devtmpfs", "dev", "/dev", ""}} {
		if err := m.do(); err != nil {
			return 0, err
		}
	}
	console, err := openConsole()
	if err != nil {
		return 0, err
	}
	os.Stdout, os.Stderr = console, console

	text, err := os.ReadFile(jobFile)
	if err != nil {
		return 0, err
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return 0, err
	}
	for _, file := range j.First {
		if err := load(file); err != nil {
			return 0, fmt.Errorf("loading the module %s: %w", file, err)
		}
	}
	if err := j.enterHost(); err != nil {
		return 0, err
	}
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+cpu +memory +pids"), 0); err != nil { // as systemd does
		return 0, fmt.Errorf("passing controllers on: %w", err)
	}
	os.Clearenv()
	for _, e := range j.Env {
		name, value, _ := strings.Cut(e, "=")
		if err := os.Setenv(name, value); err != nil {
			return 0, err
		}
	}
	if out, err := exec.Command("modprobe", append([]string{"-a"}, modules...)...).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("loading modules: %w: %s", err, out)
	}
	for path, value := range settings {
		for _, of := range []string{"all", "default"} {
			if err := os.WriteFile("/proc/sys/"+strings.ReplaceAll(path, "%", of), []byte(value), 0); err != nil {
				return 0, fmt.Errorf("setting sysctls: %w", err)
			}
		}
	}
	return j.run()
}

// openConsole opens the serial line, and stops it from turning a newline into two characters.
func openConsole() (*os.File, error) {
	console, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	attributes, err := unix.IoctlGetTermios(int(console.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("asking the console how it is set: %w", err)
	}
	attributes.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(int(console.Fd()), unix.TCSETS, attributes); err != nil {
		return nil, fmt.Errorf("setting the console: %w", err)
	}
	return console, nil
}

// load inserts a module. Virtual file systems and drivers of the first stage are wanted only once.
func load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if filepath.Ext(file) != ".ko" {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(f.Fd()), "", flags); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

type mount struct{ kind, source, target, options string }

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	flags := 0
	if m.kind == "bind" || m.kind == "move" {
		flags = map[string]int{"bind": unix.MS_BIND, "move": unix.MS_MOVE}[m.kind]
		m.kind = ""
	}
	if err := unix.Mount(m.source, m.target, m.kind, uintptr(flags), m.options); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", m.source, m.target, err)
	}
	return nil
}

// enterHost makes the host's files the root, with a layer of memory above them that takes all changes.
func (j job) enterHost() error {
	const lower, layer, root = "/host", "/layer", "/root"
	if err := (mount{"tmpfs", "layer", layer, ""}).do(); err != nil {
		return err
	}
	for _, dir := range []string{"/layer/upper", "/layer/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for _, m := range []mount{
		{"9p", hostTag, lower, "trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro"},
		{"overlay", "root", root, "lowerdir=" + lower + ",upperdir=/layer/upper,workdir=/layer/work"},
		{"tmpfs", "run", root + "/run", "mode=755"}, // the host's is about its processes and namespaces
		{"bind", lower + j.Modules, filepath.Join(root, "lib/modules", filepath.Base(j.Modules)), ""},
		{"move", "/proc", root + "/proc", ""},
		{"move", "/sys", root + "/sys", ""},
		{"move", "/dev", root + "/dev", ""},
		{"devpts", "devpts", root + "/dev/pts", ""},
		{"tmpfs", "shm", root + "/dev/shm", ""},
		{"cgroup2", "cgroup2", root + "/sys/fs/cgroup", ""},
		{"bpf", "bpf", root + "/sys/fs/bpf", ""},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := (mount{"move", root, "/", ""}).do(); err != nil {
		return err
	}
	return unix.Chroot(".")
}

// run runs the program, and puts to rest whatever else ends meanwhile, as is a first program's duty.
func (j job) run() (int, error) {
	if err := raise("lo"); err != nil {
		return 0, fmt.Errorf("setting lo up: %w", err)
	}
	cmd := exec.Command(j.Program[0], j.Program[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.Dir, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	for {
		var s unix.WaitStatus
		switch pid, err := unix.Wait4(-1, &s, 0, nil); {
		case err == unix.EINTR || pid != cmd.Process.Pid && err == nil:
		case err != nil:
			return 0, fmt.Errorf("waiting for %s: %w", cmd, err)
		case s.Signaled():
			return 0, fmt.Errorf("%s: %s", cmd, s.Signal())
		default:
			return s.ExitStatus(), nil
		}
	}
}

func raise(link string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq(link)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}
