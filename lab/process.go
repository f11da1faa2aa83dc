package lab

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Process is a program that works in a pod, as a container of it, or in a machine for as long as the lab is up.
type Process struct {
	Name         string
	Command      []string
	Env          map[string]string
	User         string // name or number; empty: root
	Restart      string // one of [Restarts]
	Ready        *Socket
	Capabilities []string // beside the usual ones: NET_ADMIN
	Delegate     bool     // what appears in its machine's network beside the plan is its own
	Limits       Limits
	Range        hcl.Range
	At           Ranges
}

// What becomes of a program that has ended.
const (
	RestartAlways = "always"
	RestartNever  = "never"
)

// Restarts lists what can become of it.
var Restarts = []string{RestartAlways, RestartNever}

const (
	maxProcesses = 32 // of a pod or machine
	maxWords     = 256
	maxCommand   = 32 << 10 // bytes
)

// reserved are the names that agents have, whose logs lie beside those of programs.
var reserved = map[string]bool{"bgp": true, "udp": true, "serve": true}

var (
	variableName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	capabilityName = regexp.MustCompile(`^[A-Z][A-Z_]*$`)
)

// processes decodes the programs of a pod or machine.
func (l *loader) processes(what string, s *shape, blocks []inner) []*Process {
	var all []*Process
	first := map[string]hcl.Range{}
	for _, b := range blocks {
		f := l.fields(s, b.Body, b.ctx)
		p := &Process{Restart: cmp.Or(f.word("restart", "restart", Restarts), RestartAlways), Range: b.DefRange(), At: f.at}
		p.Command = f.command()
		p.Env = f.environment()
		p.User, _, _ = f.text("user")
		p.Capabilities = f.capabilities()
		if p.Delegate = f.yes("delegate"); p.Delegate && !slices.Contains(p.Capabilities, "NET_ADMIN") {
			l.errorf(f.at.Of("delegate", b.DefRange()), "Nothing to delegate", "A program without NET_ADMIN makes nothing in a network. Add capabilities = [\"NET_ADMIN\"], or remove \"delegate\".")
		}
		p.Limits = f.limits()
		if text, at, ok := f.text("ready"); ok {
			if socket, ok := f.socket(item{text, at}); ok {
				p.Ready = &socket
			}
		}
		if len(b.Labels) == 0 || !l.checkName(what, b.Labels[0], b.LabelRanges[0]) {
			continue
		}
		p.Name = b.Labels[0]
		if other, taken := first[p.Name]; taken {
			l.clash(b.LabelRanges[0], other, "Duplicate "+what, "There is a %s %q already, at %s. Rename one of the two.", what, p.Name)
			continue
		}
		if reserved[p.Name] {
			l.errorf(b.LabelRanges[0], "Reserved name", "lab has an agent called %q. Give the %s another name.", p.Name, what)
			continue
		}
		if len(all) == maxProcesses {
			l.errorf(b.DefRange(), "Too many programs", "A pod or machine has at most %d of them.", maxProcesses)
			break
		}
		first[p.Name] = b.LabelRanges[0]
		all = append(all, p)
	}
	return all
}

// command reads the program and its arguments. It is no shell's line: what needs a shell says so.
func (f *fields) command() []string {
	items, ok := f.list("command")
	if !ok {
		return nil
	}
	var words []string
	size := 0
	for _, it := range items {
		if strings.ContainsRune(it.text, 0) {
			f.l.errorf(it.at, "Invalid command", "A command cannot have a zero byte.")
			return nil
		}
		size += len(it.text)
		words = append(words, it.text)
	}
	at := items[0].at
	switch {
	case len(words) > maxWords || size > maxCommand:
		f.l.errorf(at, "Command too long", "A command has at most %d words and %d bytes.", maxWords, maxCommand)
		return nil
	case words[0] == "":
		f.l.errorf(at, "Invalid command", "The program has no name.")
		return nil
	case strings.ContainsAny(words[0], " \t\n"):
		f.l.errorf(at, "Invalid command", "%q is a line, and a command is a list: the program, then its arguments, each a string. For a shell: [\"sh\", \"-c\", %[1]q].", shorten(words[0]))
		return nil
	case strings.Contains(words[0], "/") && !strings.HasPrefix(words[0], "/"):
		f.l.errorf(at, "Invalid command", "%q is a relative path. Give the whole path, or a name that is looked for in PATH.", shorten(words[0]))
		return nil
	}
	return words
}

// environment reads the variables of a program's environment; a number is as good as its digits.
func (f *fields) environment() map[string]string {
	v, at, ok := f.get("env")
	if !ok {
		return nil
	}
	if ty := v.Type(); !ty.IsObjectType() && !ty.IsMapType() {
		f.l.errorf(at, "Wrong type", "\"env\" must be variables with their values, like { PORT = \"8080\" }, not %s.", kindOf(v))
		return nil
	}
	env := map[string]string{}
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		name := key.AsString()
		if value.IsNull() {
			continue // left out
		}
		text, ok := f.asText(name, value, at)
		switch {
		case !ok:
		case !variableName.MatchString(name):
			f.l.errorf(at, "Invalid variable", "%q cannot be the name of a variable of the environment. It has letters, digits and \"_\".", shorten(name))
		case strings.ContainsRune(text, 0) || len(text) > maxCommand:
			f.l.errorf(at, "Invalid variable", "The value of %s has a zero byte, or more than %d bytes.", name, maxCommand)
		default:
			env[name] = text
		}
	}
	return env
}

// capabilities reads those that a program has beside the usual ones; that they exist is the kernel's to say.
func (f *fields) capabilities() (names []string) {
	items, _ := f.list("capabilities")
	first := map[string]hcl.Range{}
	for _, it := range items {
		name := strings.TrimPrefix(it.text, "CAP_")
		if !capabilityName.MatchString(name) {
			f.l.errorf(it.at, "Unknown capability", "%q is no capability. They are written as NET_ADMIN; capabilities(7) lists them.", shorten(it.text))
			continue
		}
		if at, ok := first[name]; ok {
			f.l.clash(it.at, at, "Duplicate capability", "%s is already in the list, at %s. Remove one of the two.", name)
			continue
		}
		first[name] = it.at
		names = append(names, name)
	}
	return names
}

// Each passes on all programs of a lab, with the machine or pod that they work in.
func (l *Lab) Each(f func(target string, p *Process)) {
	for _, m := range l.Machines {
		for _, p := range m.Processes {
			f(m.Name, p)
		}
		for _, pod := range m.Pods {
			for _, p := range pod.Processes {
				f(fmt.Sprintf("%s/%s", m.Name, pod.Name), p)
			}
		}
	}
}
