//! A headless Chromium that is spoken to through a pipe in its own protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>): JSON messages, each ended by a NUL.
//!
//! A page, its size and medium, and what is asked of it in JavaScript. It opens no port and finds no network.
#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod checks;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

const PROGRAM: &str = "chromium";
/// Longer than any page takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// Gives the browser its pipe, as the file descriptors it wants, and takes its own words away.
const PIPE: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
const FLAGS: [&str; 12] = [
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
    // No name is found, so nothing is reached.
    "--host-resolver-rules=MAP * ~NOTFOUND",
];

/// Whether there is a browser here; otherwise says why the test is skipped. With `KVMTUNE_REQUIRE_LAB=1` a skip is a
/// failure.
pub(crate) fn is_here() -> bool {
    if kvmtune::lab::image::find(PROGRAM).is_some() {
        return true;
    }
    let why = format!("no browser here: {PROGRAM} missing");
    assert!(std::env::var_os("KVMTUNE_REQUIRE_LAB").is_none(), "{why}");
    eprintln!("skipped: {why}");
    false
}

/// A browser with one page.
pub(crate) struct Page {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    sent: u64,
    session: Value,
    /// What the browser told by itself since the page was opened.
    told: Vec<Value>,
    _profile: TempDir,
}

impl Page {
    pub(crate) fn new() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", PIPE, PROGRAM])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let sent = sender.send(serde_json::from_slice(&message).unwrap());
                if sent.is_err() {
                    break;
                }
            }
        });
        let mut page = Self {
            child,
            to,
            from,
            sent: 0,
            session: Value::Null,
            told: Vec::new(),
            _profile: profile,
        };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        page.session = page.call("Target.attachToTarget", attach)["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page
    }

    /// Calls a method and returns its result; what comes in between is kept.
    pub(crate) fn call(&mut self, method: &str, parameters: impl Into<Value>) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": parameters.into() });
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        self.to.write_all(message.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        loop {
            let mut answer = self.next(method);
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.told.push(answer);
        }
    }

    fn next(&mut self, wanted: &str) -> Value {
        let next = self.from.recv_timeout(PATIENCE);
        next.unwrap_or_else(|e| panic!("{PROGRAM} says nothing to {wanted}: {e}"))
    }

    /// Opens a file and waits until it is loaded.
    pub(crate) fn open(&mut self, file: &Path) {
        self.told.clear();
        let url = format!("file://{}", file.display());
        let answer = self.call("Page.navigate", json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        while !self.told.iter().any(|t| t["method"] == "Page.loadEventFired") {
            let next = self.next("a load");
            self.told.push(next);
        }
    }

    pub(crate) fn size(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// `screen` or `print`, `light` or `dark`.
    pub(crate) fn medium(&mut self, medium: &str, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "media": medium, "features": features }),
        );
    }

    pub(crate) fn without_script(&mut self, without: bool) {
        self.call(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": without }),
        );
    }

    /// The value of an expression, a promise's when it is one.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let mut done = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true }),
        );
        assert!(
            done["exceptionDetails"].is_null(),
            "{expression}: {}",
            done["exceptionDetails"]
        );
        done["result"]["value"].take()
    }

    pub(crate) fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        value
            .as_str()
            .unwrap_or_else(|| panic!("{expression}: {value}"))
            .into()
    }

    pub(crate) fn number(&mut self, expression: &str) -> f64 {
        let value = self.value(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression}: {value}"))
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        let wait = format!(
            "new Promise((done) => {{ const end = performance.now() + 30000; const look = () => ({expression}) ? done(true)
             : performance.now() > end ? done(false) : setTimeout(look, 20); look(); }})"
        );
        assert_eq!(self.value(&wait), true, "never: {expression}");
    }

    /// Presses a key that gives no letter.
    pub(crate) fn press(&mut self, key: &str) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let code = if key == "Enter" { 13 } else { 0 };
            self.call(
                "Input.dispatchKeyEvent",
                json!({ "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code }),
            );
        }
    }

    /// Moves the mouse to the middle of what a selector finds first, and clicks there if so wished.
    pub(crate) fn point(&mut self, selector: &str, click: bool) {
        // What comes into sight may be laid out only now, and move what is below it.
        let place = self.value(&format!(
            "(async () => {{ const e = document.querySelector({selector:?});
             for (let i = 0; i < 3; i += 1) {{ e.scrollIntoView({{ block: 'center' }}); await new Promise(requestAnimationFrame); }}
             const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; }})()"
        ));
        let kinds: &[&str] = if click {
            &["mouseMoved", "mousePressed", "mouseReleased"]
        } else {
            &["mouseMoved"]
        };
        for kind in kinds {
            let button = if *kind == "mouseMoved" { "none" } else { "left" };
            self.call(
                "Input.dispatchMouseEvent",
                json!({ "type": kind, "x": place[0], "y": place[1], "button": button, "clickCount": 1 }),
            );
        }
    }

    /// Errors and warnings, dialogs, and requests for anything but the page itself.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        self.value("1");
        let is_bad = |t: &&Value| match t["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" | "Page.javascriptDialogOpening" => true,
            "Runtime.consoleAPICalled" => t["params"]["type"] != "log",
            "Log.entryAdded" => t["params"]["entry"]["level"] != "verbose",
            "Network.requestWillBeSent" => {
                let url = t["params"]["request"]["url"].as_str().unwrap_or_default();
                !url.starts_with("file:") || t["params"]["type"] != "Document"
            }
            _ => false,
        };
        self.told.iter().filter(is_bad).map(ToString::to_string).collect()
    }

    /// A picture of the whole page, as PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        use base64::Engine as _;
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let picture = self.call(
            "Page.captureScreenshot",
            json!({ "format": "png", "captureBeyondViewport": true, "clip": clip }),
        );
        let engine = base64::engine::general_purpose::STANDARD;
        engine.decode(picture["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The end of its pipe ends it too, but not at once.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
