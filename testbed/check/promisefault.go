package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
	"labnet/testbed/agent/supervise"
	"labnet/testbed/predict"
)

// said is what an agent says of itself.
type said struct {
	State    string // of a program: running, starting, waiting, restarting, ended
	Ended    string // how a program has ended last
	Process  int
	Restarts int
	pid      int   // the agent's own; 0: there is none
	silent   error // it says nothing
}

// crashes reports whether it is a program that ends again and again.
func (s said) crashes() bool {
	return s.Ended != supervise.EndedWell && (s.State == "waiting" || s.State == "restarting" || s.State == "starting" && s.Restarts > 0)
}

// machines are the agents of machines, looked for once in each.
type machines struct {
	mu  sync.Mutex
	all map[string]func() ([]testbed.RunningAgent, error)
}

func (m *machines) agents(place *testbed.Place) ([]testbed.RunningAgent, error) {
	m.mu.Lock()
	if m.all == nil {
		m.all = map[string]func() ([]testbed.RunningAgent, error){}
	}
	find := m.all[place.Name]
	if find == nil {
		find = sync.OnceValues(func() ([]testbed.RunningAgent, error) { return testbed.Agents(place) })
		m.all[place.Name] = find
	}
	m.mu.Unlock()
	return find()
}

// ask asks an agent what it says of itself.
func (m *machines) ask(a plan.Agent) (s said, err error) {
	place, err := testbed.Open(a.Namespace)
	if err != nil {
		return s, err
	}
	defer place.Close()
	all, err := m.agents(place)
	if err != nil {
		return s, err
	}
	i := slices.IndexFunc(all, func(one testbed.RunningAgent) bool { return one.Name == a.Name })
	if i < 0 {
		return s, nil
	}
	report, err := all[i].Ask(place)
	if err == nil {
		err = json.Unmarshal(report, &s)
	}
	s.pid, s.silent = all[i].PID, err
	return s, nil
}

// explainPromise finds what keeps somebody from reaching what is promised: it does not run, it listens elsewhere, or the network
// does not lead there.
func (in *inquiry) explainPromise(c Check) (*finding, error) {
	row := c.promise
	if f, err := in.unheard(row, c); f != nil || err != nil || row.from.Namespace == row.Namespace || !row.asked() {
		return f, err
	}
	there, back, err := in.Exchange(in.ctx, predict.Probe{From: row.from.Namespace, To: row.to.Addr(), At: row.Namespace, Protocol: row.Protocol, Port: row.to.Port()}, true)
	if err != nil {
		return nil, err
	}
	if f := ended(there, ""); f != nil {
		return f, nil
	}
	return ended(back, "of the answer: "), nil
}

// unheard says why what runs does not hear who asks, by itself; nil where the network is to blame.
func (in *inquiry) unheard(row *promiseRow, c Check) (*finding, error) {
	s, err := in.asked(row.At)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return in.told(row, row.Target+" is not there; `lab up` makes it", "ip netns list"), nil
	case err != nil:
		return nil, err
	case s.pid == 0:
		return in.gone(row), nil
	case s.silent != nil && row.Program == "":
		return in.ofMachine(row, fmt.Sprintf("runs as process %d, and answers nobody", s.pid)), nil
	case s.silent != nil:
		return in.told(row, fmt.Sprintf("what supervises %s is process %d, and answers nobody", row.who(), s.pid), in.logs(row)), nil
	case s.crashes() || s.State == "ended":
		return in.ended(row, s), nil
	case row.Protocol == "":
		return nil, nil // it runs by now
	}
	return in.elsewhere(row, c, s)
}

// asked asks an agent, once.
func (in *inquiry) asked(a plan.Agent) (said, error) {
	if s, ok := in.agents[a.Key()]; ok {
		return s, nil
	}
	s, err := in.machines.ask(a)
	in.agents[a.Key()] = s
	return s, err
}

// who is what a row is about, as the subject of a sentence.
func (row *promiseRow) who() string {
	if row.Program == "" {
		return "the responder of " + row.Target
	}
	return row.Program + " of " + row.Target
}

func (in *inquiry) told(row *promiseRow, sentence, command string) *finding {
	return &finding{Drop: trace.Drop{Machine: row.Target, Sentence: sentence, Command: command}, disposition: trace.Lost}
}

func (in *inquiry) logs(row *promiseRow) string {
	return fmt.Sprintf("lab logs -l %s %s", in.plan.Cluster.Name, row.Name())
}

// ofMachine is what is wrong with a machine's responder: all that it serves suffers.
func (in *inquiry) ofMachine(row *promiseRow, what string) *finding {
	machine, _, _ := strings.Cut(row.Target, "/")
	f := in.told(row, fmt.Sprintf("the responder of %s %s", machine, what), fmt.Sprintf("lab status %s %s", in.plan.Cluster.Name, machine))
	f.Machine = machine
	return f
}

// gone is that nobody supervises what is promised.
func (in *inquiry) gone(row *promiseRow) *finding {
	if row.Program == "" {
		return in.ofMachine(row, "does not run; `lab up` starts it")
	}
	why := "does not run, and nobody starts it again"
	if how := lastWords(row); how != "" {
		why = how + ", and is not started again"
	}
	var c plan.Supervised
	if json.Unmarshal([]byte(row.At.Config), &c) == nil && c.Restart == lab.RestartNever {
		why += `, since its restart is "never"`
	}
	return in.told(row, fmt.Sprintf("%s %s; `lab up` starts it", row.who(), why), in.logs(row))
}

// lastWords is how a program ended by what its supervisor has logged.
func lastWords(row *promiseRow) string {
	text, err := os.ReadFile(testbed.AgentLog(row.At.Namespace, row.At.Name))
	if err != nil {
		return ""
	}
	at := strings.LastIndex(string(text), " "+row.who()+": ")
	if at < 0 {
		return ""
	}
	_, how, _ := strings.Cut(string(text[at:]), ": ")
	how, _, _ = strings.Cut(how, "\n")
	return how
}

// ended is a program that has ended, for good or again and again.
func (in *inquiry) ended(row *promiseRow, s said) *finding {
	text := fmt.Sprintf("%s %s", row.who(), s.Ended)
	if s.crashes() {
		text += fmt.Sprintf(", and is started again and again, %d× so far", s.Restarts)
	}
	return in.told(row, text, in.logs(row))
}

// elsewhere says what is wrong with where something listens; nil where nothing is.
func (in *inquiry) elsewhere(row *promiseRow, c Check, s said) (*finding, error) {
	place, err := testbed.Open(row.Namespace)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	all, err := testbed.Listeners(place)
	if err != nil {
		return nil, err
	}
	holders := testbed.Holders(all)
	own := func(i int) bool {
		h, seen := holders[i]
		return seen && (h.PID == s.pid || s.Process != 0 && testbed.Beside(h.PID, s.Process))
	}
	flag := "t"
	if row.Protocol == "udp" {
		flag = "u"
	}
	command := fmt.Sprintf("ip netns exec %s ss -l%snp", row.Namespace, flag)
	var hears, same, others []int
	for i, l := range all {
		switch {
		case row.heardBy(l):
			hears = append(hears, i)
		case l.Protocol == row.Protocol && int(l.At.Port()) == row.Port:
			same = append(same, i)
		case own(i) && !in.promised(row.Namespace, l):
			others = append(others, i)
		}
	}
	switch {
	case len(hears) > 0:
		text := in.deaf(row, c, all[hears[0]], holders[hears[0]], slices.ContainsFunc(hears, own))
		if text == "" {
			return nil, nil
		}
		return in.told(row, text, command), nil
	case len(same) > 0:
		l, text := all[same[0]], ""
		at := l.At.Addr()
		switch {
		case at.IsLoopback():
			text = fmt.Sprintf("%s listens on %s alone, which only %s itself reaches", row.who(), l.At, row.Target)
		case at.IsUnspecified():
			text = fmt.Sprintf("%s listens on %s over %s alone", row.who(), row.Socket(), familyName(at.Is6()))
		default:
			text = fmt.Sprintf("%s listens on %s alone, and not on %s", row.who(), l.At, row.to)
		}
		return in.told(row, text, command), nil
	case len(others) > 0:
		var ports []string
		for _, i := range others {
			if p := fmt.Sprintf("%s/%d", all[i].Protocol, all[i].At.Port()); !slices.Contains(ports, p) {
				ports = append(ports, p)
			}
		}
		return in.told(row, fmt.Sprintf("%s listens on %s, and not on %s", row.who(), either(ports, "and"), row.Socket()), command), nil
	case row.Program != "":
		return in.told(row, fmt.Sprintf("%s runs, and does not listen on %s", row.who(), row.Socket()), in.logs(row)), nil
	}
	return in.told(row, fmt.Sprintf("%s does not listen on %s", row.who(), row.Socket()), command), nil
}

// deaf says why somebody who listens is not heard; empty where it is not for anything that is seen of the socket.
func (in *inquiry) deaf(row *promiseRow, c Check, l testbed.Listener, h testbed.Holder, own bool) string {
	family := l.At.Addr()
	switch {
	case !own && h.PID != 0:
		return fmt.Sprintf("%s of %s is taken by %s, process %d, and not by %s", row.Socket(), row.Target, h.Name, h.PID, row.who())
	case strings.HasPrefix(c.Seen, "refused") && family.IsUnspecified() && family.Is6() && row.to.Addr().Is4():
		return fmt.Sprintf("%s listens on %s over IPv6 alone", row.who(), row.Socket())
	case l.Waiting > 0 && !strings.HasPrefix(c.Seen, "refused"):
		return fmt.Sprintf("%s listens on %s and accepts nobody; %s wait", row.who(), row.Socket(), plural(l.Waiting, "connection"))
	}
	return ""
}

// promised reports whether a listener is one that somebody in the namespace has promised.
func (in *inquiry) promised(namespace string, l testbed.Listener) bool {
	return in.due[port{namespace, l.Protocol, int(l.At.Port())}] != nil
}

func familyName(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}
