//! A real browser without a screen, driven by the DevTools protocol over a pipe.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// How long anything may take that has no limit of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The browser, with one page.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    complaints: Arc<Mutex<Vec<String>>>,
    session: Option<String>,
    calls: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it, with a window of this size.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // The browser reads file descriptor 3 and writes 4.
        command.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, "chromium"]);
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            "--no-first-run",
        ]);
        command.args(["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]);
        // With extensions, it makes a directory for them beside its program.
        command.arg("--disable-extensions");
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        // What else it keeps of its own goes with the profile, too.
        for home in ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
            command.env(home, profile.path());
        }
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, answers) = channel();
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&complaints);
        thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice::<Value>(&message) else { return };
                if message["id"].is_u64() {
                    if sender.send(message).is_err() {
                        return;
                    }
                } else if let Some(complaint) = complaint(&message) {
                    heard.lock().unwrap().push(complaint);
                }
            }
        });
        let mut browser =
            Self { child, input, answers, complaints, session: None, calls: 0, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Runtime", "Log", "Page"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.resize(width, height);
        browser
    }

    /// Calls a method of the protocol.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            match self.answers.recv_timeout(PATIENCE) {
                Ok(answer) if answer["id"] == self.calls => {
                    assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                    return answer["result"].clone();
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("{method} has no answer"),
                Err(RecvTimeoutError::Disconnected) => panic!("chromium has ended, or is not installed"),
            }
        }
    }

    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    pub(crate) fn open(&mut self, address: &str) {
        self.call("Page.navigate", &json!({"url": address}));
        self.wait("document.readyState === 'complete'");
    }

    /// What an expression is.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", &parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression holds, and says for how long.
    pub(crate) fn wait(&mut self, expression: &str) -> Duration {
        let begin = Instant::now();
        while self.value(&format!("Boolean({expression})")) != true {
            let text = "document.body.innerText.slice(0, 3000)";
            assert!(begin.elapsed() < PATIENCE, "{expression} does not hold: {}", self.value(text));
            thread::sleep(Duration::from_millis(20));
        }
        begin.elapsed()
    }

    /// Waits for an element and clicks it, as the mouse does; then the mouse goes away.
    pub(crate) fn click(&mut self, selector: &str) {
        let element = format!("document.querySelector({})", json!(selector));
        self.wait(&element);
        // What is above it may still come and move it.
        let place = format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect(); \
             const at = [r.x + r.width / 2, r.y + r.height / 2]; return e.contains(document.elementFromPoint(...at)) ? at : null; }})()"
        );
        let begin = Instant::now();
        let mut places = [Value::Null, self.value(&place)];
        while places[0] != places[1] || places[1].is_null() {
            assert!(begin.elapsed() < PATIENCE, "{selector} does not stand still: {places:?}");
            thread::sleep(Duration::from_millis(50));
            places = [places[1].clone(), self.value(&place)];
        }
        let [_, place] = places;
        for (kind, x, y) in [
            ("mouseMoved", &place[0], &place[1]),
            ("mousePressed", &place[0], &place[1]),
            ("mouseReleased", &place[0], &place[1]),
            ("mouseMoved", &json!(1), &json!(1)),
        ] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({"type": kind, "x": x, "y": y, "button": button, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Presses a key that has a name: `Enter`, `Tab`, `Escape`, `ArrowDown`.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            "ArrowDown" => 40,
            other => panic!("{other}"),
        };
        let mut event = json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code});
        if key == "Enter" {
            event["text"] = json!("\r");
        }
        self.call("Input.dispatchKeyEvent", &event);
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", &event);
    }

    /// Types a text into what has the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        for letter in text.chars() {
            let event =
                |kind: &str| json!({"type": kind, "text": letter.to_string(), "key": letter.to_string()});
            self.call("Input.dispatchKeyEvent", &event("keyDown"));
            self.call("Input.dispatchKeyEvent", &event("keyUp"));
        }
    }

    /// A picture of the whole page, as a PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        self.value("scrollTo(0, 0)");
        let size = self.call("Page.getLayoutMetrics", &json!({}))["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.call("Page.captureScreenshot", &parameters);
        BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    /// What the browser complained about: exceptions, and what the policy of the page forbids.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _gone = self.input.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(5) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn complaint(message: &Value) -> Option<String> {
    let parameters = &message["params"];
    match message["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
        "Log.entryAdded" if parameters["entry"]["level"] == "error" => Some(parameters["entry"].to_string()),
        "Page.javascriptDialogOpening" => Some(format!("a dialog: {parameters}")),
        _ => None,
    }
}
