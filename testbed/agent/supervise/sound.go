package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"labnet/lab"
)

// Sound says what of a program this machine lacks, before anything is built: the attribute, and what is wrong with it; nil where
// it can be started.
func Sound(p *lab.Process) (attribute string, err error) {
	var env []string
	if in, ok := p.Env["PATH"]; ok {
		env = append(env, "PATH="+in)
	}
	file, err := lookFor(p.Command[0], env)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "command", fmt.Errorf("this machine has no program %q; install it, or give its whole path", p.Command[0])
	case err != nil:
		return "command", err
	}
	if folder, is := OwnPath(file); is {
		return "command", fmt.Errorf("a program does not see the machine's %s, since it has that folder for itself; put %s elsewhere", folder, file)
	}
	switch info, err := os.Stat(file); {
	case errors.Is(err, fs.ErrNotExist):
		return "command", fmt.Errorf("this machine has no file %s", file)
	case err != nil:
		return "command", err
	case info.IsDir() || info.Mode()&0o111 == 0:
		return "command", fmt.Errorf("%s cannot be executed; \"chmod +x\" makes a script a program", file)
	}
	if p.User != "" {
		if _, _, err := credentialOf(p.User); err != nil {
			return "user", fmt.Errorf("this machine has no user %q; give one that /etc/passwd has, or a number", p.User)
		}
	}
	for _, name := range p.Capabilities {
		if _, ok := Capability(name); !ok {
			return "capabilities", fmt.Errorf("there is no capability %s; capabilities(7) lists them, as %s", name, strings.Join([]string{"NET_ADMIN", "SYS_NICE"}, ", "))
		}
	}
	return "", nil
}
