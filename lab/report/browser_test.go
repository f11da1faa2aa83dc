package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// browser is a headless Chromium with one page, spoken to over its debugging pipe: messages in JSON, a zero byte after each.
type browser struct {
	t        *testing.T
	to       io.Writer
	messages chan message
	last     int
	session  string
	loaded   bool
	faults   []string // what the page complained of
	asked    []string // addresses of what it loaded
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

type arguments map[string]any

// browse starts a browser and shows a page in it. Where no browser is installed the test is skipped.
func browse(t *testing.T, address string) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium is installed, so nobody looked at the page")
	}
	b := &browser{t: t, messages: make(chan message, 16)}
	b.start(path)
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Accessibility"} {
		b.call(domain+".enable", nil, nil)
	}
	b.call("Page.navigate", arguments{"url": address}, nil)
	for !b.loaded {
		b.heed(b.receive())
	}
	return b
}

func (b *browser) start(path string) {
	b.t.Helper()
	read, to, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	from, write, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
		"--user-data-dir="+b.t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles, cmd.Stderr, cmd.WaitDelay = []*os.File{read, write}, &said, time.Second
	err = cmd.Start()
	read.Close()
	write.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	b.to = to
	go func() {
		defer close(b.messages)
		in := bufio.NewReader(from)
		for {
			text, err := in.ReadBytes(0)
			if err != nil {
				return
			}
			var m message
			if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) == nil {
				b.messages <- m
			}
		}
	}()
	b.t.Cleanup(func() {
		b.session = ""
		_ = b.send("Browser.close", nil)
		gone := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		for range b.messages { // until it has closed its end
		}
		_ = cmd.Wait()
		gone.Stop()
		to.Close()
		from.Close()
		if b.t.Failed() {
			b.t.Logf("the browser said: %s", said.String())
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", arguments{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("Target.attachToTarget", arguments{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
}

func (b *browser) send(method string, params arguments) error {
	b.last++
	text, err := json.Marshal(struct {
		ID      int       `json:"id"`
		Session string    `json:"sessionId,omitempty"`
		Method  string    `json:"method"`
		Params  arguments `json:"params,omitempty"`
	}{b.last, b.session, method, params})
	if err != nil {
		return err
	}
	_, err = b.to.Write(append(text, 0))
	return err
}

func (b *browser) receive() message {
	b.t.Helper()
	select {
	case m, ok := <-b.messages:
		if ok {
			return m
		}
		b.t.Fatal("the browser has gone")
	case <-time.After(time.Minute):
		b.t.Fatal("the browser does not answer")
	}
	return message{}
}

// call lets the browser do something, and heeds what happens meanwhile.
func (b *browser) call(method string, params arguments, result any) {
	b.t.Helper()
	if err := b.send(method, params); err != nil {
		b.t.Fatal(err)
	}
	for {
		m := b.receive()
		if m.ID != b.last {
			b.heed(m)
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error)
		}
		if result == nil {
			return
		}
		if err := json.Unmarshal(m.Result, result); err != nil {
			b.t.Fatal(err)
		}
		return
	}
}

func (b *browser) heed(m message) {
	switch m.Method {
	case "Page.loadEventFired":
		b.loaded = true
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		b.faults = append(b.faults, string(m.Params))
	case "Network.requestWillBeSent":
		var sent struct{ Request struct{ URL string } }
		if json.Unmarshal(m.Params, &sent) == nil {
			b.asked = append(b.asked, sent.Request.URL)
		}
	}
}

// eval computes an expression of JavaScript in the page.
func (b *browser) eval(expression string, result any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", arguments{"expression": expression, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, answer.ExceptionDetails)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result.Value, result); err != nil {
			b.t.Fatalf("%s: %v", expression, err)
		}
	}
}

// show sets how the page is looked at: so wide, in light or dark, on a screen or on paper.
func (b *browser) show(width int, scheme, media string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", arguments{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.call("Emulation.setEmulatedMedia", arguments{"media": media, "features": []arguments{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// picture takes one of the page, as high as that, or of all of it.
func (b *browser) picture(height int) []byte {
	b.t.Helper()
	var size struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	b.call("Page.getLayoutMetrics", nil, &size)
	shown := size.CSSContentSize.Height
	if height > 0 {
		shown = min(shown, float64(height))
	}
	var taken struct{ Data []byte }
	b.call("Page.captureScreenshot", arguments{
		"captureBeyondViewport": true, "clip": arguments{"x": 0, "y": 0, "width": size.CSSContentSize.Width, "height": shown, "scale": 1},
	}, &taken)
	return taken.Data
}
