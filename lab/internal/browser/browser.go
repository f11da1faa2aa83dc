// Package browser shows a page to tests in a headless Chromium: as a person sees it, as a screen reader hears it, and as
// axe-core judges it.
package browser

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

// Page is a page in a headless Chromium, spoken to over its debugging pipe: messages in JSON, a zero byte after each.
type Page struct {
	t        *testing.T
	to       io.Writer
	messages chan message
	last     int
	session  string
	loaded   bool
	Faults   []string // what the page complained of
	Asked    []string // addresses of what it loaded
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// Arguments are those of a method of the debugging protocol.
type Arguments map[string]any

// Open starts a browser and shows a page in it. Where no browser is installed the test is skipped.
func Open(t *testing.T, address string) *Page {
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
	b := &Page{t: t, messages: make(chan message, 16)}
	b.start(path)
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Accessibility"} {
		b.Call(domain+".enable", nil, nil)
	}
	b.Go(address)
	return b
}

// Go shows another page.
func (b *Page) Go(address string) {
	b.t.Helper()
	b.loaded = false
	b.Call("Page.navigate", Arguments{"url": address}, nil)
	for !b.loaded {
		b.heed(b.receive())
	}
}

func (b *Page) start(path string) {
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
	b.Call("Target.createTarget", Arguments{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.Call("Target.attachToTarget", Arguments{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
}

func (b *Page) send(method string, params Arguments) error {
	b.last++
	text, err := json.Marshal(struct {
		ID      int       `json:"id"`
		Session string    `json:"sessionId,omitempty"`
		Method  string    `json:"method"`
		Params  Arguments `json:"params,omitempty"`
	}{b.last, b.session, method, params})
	if err != nil {
		return err
	}
	_, err = b.to.Write(append(text, 0))
	return err
}

func (b *Page) receive() message {
	b.t.Helper()
	select {
	case m, ok := <-b.messages:
		if ok {
			return m
		}
		b.t.Fatal("the browser has gone")
	case <-time.After(5 * time.Minute): // axe-core takes ten seconds on a machine with nothing else to do
		b.t.Fatal("the browser does not answer")
	}
	return message{}
}

// Call lets the browser do something, and heeds what happens meanwhile.
func (b *Page) Call(method string, params Arguments, result any) {
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

func (b *Page) heed(m message) {
	switch m.Method {
	case "Page.loadEventFired":
		b.loaded = true
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		b.Faults = append(b.Faults, string(m.Params))
	case "Network.requestWillBeSent":
		var sent struct{ Request struct{ URL string } }
		if json.Unmarshal(m.Params, &sent) == nil {
			b.Asked = append(b.Asked, sent.Request.URL)
		}
	}
}

// Eval computes an expression of JavaScript in the page.
func (b *Page) Eval(expression string, result any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.Call("Runtime.evaluate", Arguments{"expression": expression, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, answer.ExceptionDetails)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result.Value, result); err != nil {
			b.t.Fatalf("%s: %v", expression, err)
		}
	}
}

// Show sets how the page is looked at: so wide, in light or dark, on a screen or on paper.
func (b *Page) Show(width int, scheme, media string) {
	b.t.Helper()
	b.Call("Emulation.setDeviceMetricsOverride", Arguments{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.Call("Emulation.setEmulatedMedia", Arguments{"media": media, "features": []Arguments{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Picture takes one of the page, as high as that, or of all of it.
func (b *Page) Picture(height int) []byte {
	b.t.Helper()
	var size struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	b.Call("Page.getLayoutMetrics", nil, &size)
	shown := size.CSSContentSize.Height
	if height > 0 {
		shown = min(shown, float64(height))
	}
	var taken struct{ Data []byte }
	b.Call("Page.captureScreenshot", Arguments{
		"captureBeyondViewport": true, "clip": Arguments{"x": 0, "y": 0, "width": size.CSSContentSize.Width, "height": shown, "scale": 1},
	}, &taken)
	return taken.Data
}
