// Vm runs a program on Debian's own kernel, for tests of what the running kernel lacks:
//
//	go test -exec "$PWD/bin/vm" -v -run TestSwitchImpairs ./testbed/suite
//	bin/vm sh -c 'modprobe dummy && ip link add d0 type dummy && ip link'
//
// It boots that kernel in QEMU, which emulates the processor and so needs no KVM, no root and no disk image. The guest sees
// this machine's files as they are and may change any of them: its changes are kept in its own memory and end with it. The
// program runs as root in the same folder and with the same environment, plus LAB_VM=1; vm exits as the program did.
//
// The guest's clock counts the instructions of its one processor, two nanoseconds each, and follows this machine's only
// while it is idle. So a timeout means as much work on a busy machine as on another, and what is timed in it can be trusted.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// failed is the exit status when it is not the program that failed, but the machine around it.
const failed = 125

func main() {
	if os.Args[0] == guestInit {
		guest()
	}
	limit := flag.Duration("limit", 10*time.Minute, "how long the guest may take, by this machine's clock")
	memory := flag.String("memory", "3G", "the guest's memory")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: vm [flags] PROGRAM [ARGUMENT…]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(failed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	defer stop()
	code, err := run(ctx, *limit, *memory, flag.Args(), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		code = failed
	}
	os.Exit(code)
}

// run boots a guest, runs a program in it, and returns the program's exit status.
func run(ctx context.Context, limit time.Duration, memory string, program []string, out io.Writer) (int, error) {
	if err := equipped(); err != nil {
		return 0, err
	}
	k, err := kernel(ctx)
	if err != nil {
		return 0, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	initrd, err := k.initrd(job{Dir: dir, Program: program, Env: append(os.Environ(), "LAB_VM=1"), Modules: k.modules})
	if err != nil {
		return 0, fmt.Errorf("writing the guest's first file system: %w", err)
	}
	defer initrd.Close()

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg", "-icount", "shift=1", "-cpu", "max", "-m", memory, "-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", k.image, "-initrd", "/proc/self/fd/3", "-append", "console=ttyS0 loglevel=3 panic=-1 mitigations=off nokaslr",
		"-serial", "stdio", "-device", fmt.Sprintf("isa-debug-exit,iobase=%#x", exitPort), "-device", "virtio-rng-pci",
		"-virtfs", "local,path=/,mount_tag="+hostTag+",security_model=none,readonly=on,multidevs=remap")
	var complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, &complaints, []*os.File{initrd}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the kernel takes the end of the thread that started it for the parent's end
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return 0, fmt.Errorf("%s did not finish within %s; the guest is slow, see -limit", filepath.Base(program[0]), limit)
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%s was interrupted", filepath.Base(program[0]))
	case err == nil:
		return 0, errors.New("the guest died; its last words are above")
	case errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode()%2 == 1 && complaints.Len() == 0:
		return exit.ExitCode() / 2, nil // the device's doing
	}
	return 0, fmt.Errorf("running QEMU: %w: %s", err, bytes.TrimSpace(complaints.Bytes()))
}

// equipped says which packages are missing.
func equipped() error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("the guest is an amd64 machine, which runs no programs for %s", runtime.GOARCH)
	}
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil { // not in everyone's path
		return err
	}
	var programs, packages []string
	for _, p := range [][2]string{{"qemu-system-x86_64", "qemu-system-x86"}, {"depmod", "kmod"}, {"xz", "xz-utils"}} {
		if _, err := exec.LookPath(p[0]); err != nil {
			programs, packages = append(programs, p[0]), append(packages, p[1])
		}
	}
	if len(programs) > 0 {
		return fmt.Errorf("there is no %s in PATH; install with \"apt-get install --no-install-recommends %s\"", strings.Join(programs, " and no "), strings.Join(packages, " "))
	}
	return nil
}

// kernelFiles are an unpacked kernel package.
type kernelFiles struct{ image, modules string }

// kernel returns the kernel in the user's cache, and gets it from Debian's archive when there is none.
func kernel(ctx context.Context) (kernelFiles, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return kernelFiles{}, err
	}
	cache = filepath.Join(cache, "lab-vm")
	found := filepath.Join(cache, "kernel")
	if _, err := os.Stat(found); errors.Is(err, fs.ErrNotExist) {
		if err := fetch(ctx, cache, found); err != nil {
			return kernelFiles{}, fmt.Errorf("getting a kernel from the distribution: %w", err)
		}
	}
	modules, _ := filepath.Glob(filepath.Join(found, "lib/modules/*"))
	if len(modules) != 1 {
		return kernelFiles{}, fmt.Errorf("%s is not an unpacked kernel package; remove it, and it is fetched again", found)
	}
	return kernelFiles{filepath.Join(found, "vmlinux"), modules[0]}, nil
}

// fetch unpacks the package that the distribution's kernel package depends on, without installing it.
func fetch(ctx context.Context, cache, into string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	in := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = tmp
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(stderr.Bytes()))
		}
		return string(out), nil
	}
	depends, err := in("apt-cache", "depends", "--important", "linux-image-amd64")
	if err != nil {
		return err
	}
	var name string
	for _, word := range strings.Fields(depends) {
		if strings.HasPrefix(word, "linux-image-") && word != "linux-image-amd64" {
			name = word
		}
	}
	if name == "" {
		return errors.New("linux-image-amd64 depends on no kernel; is \"apt-get update\" due?")
	}
	if _, err := in("apt-get", "download", name); err != nil {
		return err
	}
	packages, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(packages) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages", name, len(packages))
	}
	kernel := filepath.Join(tmp, "kernel")
	if _, err := in("dpkg", "-x", packages[0], kernel); err != nil {
		return err
	}
	// Debian moves the modules from /lib to /usr/lib; here they are found by either name.
	if err := os.Symlink("usr/lib", filepath.Join(kernel, "lib")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	modules, _ := filepath.Glob(filepath.Join(kernel, "lib/modules/*"))
	if len(modules) != 1 {
		return fmt.Errorf("%s has no modules of one kernel", name)
	}
	release := filepath.Base(modules[0])
	if _, err := in("depmod", "-b", kernel, release); err != nil {
		return err
	}
	if err := extract(ctx, filepath.Join(kernel, "boot/vmlinuz-"+release), filepath.Join(kernel, "vmlinux")); err != nil {
		return err
	}
	if err := os.Rename(kernel, into); err != nil && !errors.Is(err, fs.ErrExist) { // someone else was faster
		return err
	}
	return nil
}

// extract takes the kernel out of an image that would unpack itself with xz: emulated, that takes longer than all the rest
// of the boot. Images packed in other ways stay as they are. What the image's header says: Documentation/arch/x86/boot.rst.
func extract(ctx context.Context, image, into string) error {
	text, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	const sectors, offset, length, end = 0x1f1, 0x248, 0x24c, 0x250
	if len(text) < end {
		return fmt.Errorf("%s is too short for a kernel", image)
	}
	from := (int(text[sectors])+1)*512 + int(binary.LittleEndian.Uint32(text[offset:]))
	to := from + int(binary.LittleEndian.Uint32(text[length:]))
	if to > len(text) {
		return fmt.Errorf("%s says that its kernel is outside of it", image)
	}
	packed := text[from:to]
	if !bytes.HasPrefix(packed, []byte("\xfd7zXZ\x00")) {
		return os.Link(image, into)
	}
	out, err := os.Create(into)
	if err != nil {
		return err
	}
	defer out.Close()
	var complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, "xz", "-dc", "--single-stream")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(packed), out, &complaints
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("unpacking %s: %w: %s", image, err, bytes.TrimSpace(complaints.Bytes()))
	}
	return out.Close()
}

// initrd makes, in memory, what the guest has before it sees this machine's files: this program, the modules that it takes
// to see them, and what to do then.
func (k kernelFiles) initrd(j job) (*os.File, error) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	addFile(&archive, guestInit, program)
	for _, m := range []string{"virtio_pci", "9pnet_virtio", "9p", "overlay"} {
		order, err := k.loadOrder(m)
		if err != nil {
			return nil, err
		}
		for _, file := range order {
			text, err := os.ReadFile(filepath.Join(k.modules, file))
			if err != nil {
				return nil, err
			}
			at := "/" + filepath.Base(file)
			addFile(&archive, at, text)
			j.First = append(j.First, at)
		}
	}
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	addFile(&archive, jobFile, text)
	addFile(&archive, "TRAILER!!!", nil)
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "initrd")
	if _, err := f.Write(archive.Bytes()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// loadOrder lists a module's file after those it depends on, as modules.dep has them; one that is built in has none.
func (k kernelFiles) loadOrder(module string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(k.modules, "modules.dep"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		file, needs, _ := strings.Cut(line, ":")
		if name, _, _ := strings.Cut(filepath.Base(file), "."); name != module {
			continue
		}
		order := []string{file}
		for _, n := range strings.Fields(needs) {
			order = append([]string{n}, order...)
		}
		return order, nil
	}
	return nil, nil
}

// addFile adds an executable file to an archive in the one format that the kernel unpacks: cpio's "newc".
func addFile(archive *bytes.Buffer, name string, text []byte) {
	name = strings.TrimPrefix(name, "/")
	pad := func() {
		for archive.Len()%4 != 0 {
			archive.WriteByte(0)
		}
	}
	const regular, links = 0o100755, 1
	archive.WriteString("070701")
	for _, field := range []int{0, regular, 0, 0, links, 0, len(text), 0, 0, 0, 0, len(name) + 1, 0} {
		fmt.Fprintf(archive, "%08x", field)
	}
	archive.WriteString(name + "\x00")
	pad()
	archive.Write(text)
	pad()
}
