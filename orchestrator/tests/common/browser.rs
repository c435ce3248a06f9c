//! A headless Chromium, driven by chromedriver over `WebDriver`'s JSON.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::LONG;

/// A browser with one window; closed when dropped.
pub(crate) struct Browser {
    driver: Child,
    address: String,
    session: String,
    profile: tempfile::TempDir,
}

/// Whether browsers must be there: continuous integration says so, and nothing is passed over silently.
pub(crate) fn is_required() -> bool {
    std::env::var_os("EVOLVE_REQUIRE_BROWSER").is_some_and(|value| !value.is_empty())
}

/// Says it where it is seen: the test harness keeps what the macros print of a test that passes.
fn say(words: &str) {
    writeln!(std::io::stderr(), "{words}").ok();
}

/// The program of this name in `PATH`.
fn found(names: &[&str]) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let mut candidates =
        std::env::split_paths(&paths).flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    candidates.find(|path| path.is_file())
}

impl Browser {
    /// Starts one. None, with a line that says so, where there is none and none is required.
    pub(crate) fn start() -> Option<Self> {
        let chromium = found(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]);
        let driver = found(&["chromedriver"]);
        let (Some(chromium), Some(driver)) = (chromium, driver) else {
            let words = "no Chromium with chromedriver is installed (Debian: apt-get install chromium chromium-driver)";
            assert!(!is_required(), "{words}, and EVOLVE_REQUIRE_BROWSER is set");
            say(&format!("SKIPPED: {words}"));
            return None;
        };
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split("started successfully on port ").nth(1)?.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver says its port");
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let mut browser =
            Self { driver, address: format!("127.0.0.1:{port}"), session: String::new(), profile };
        let arguments = [
            "--headless=new".to_owned(),
            // Tests run as root in containers, and what they open is our own.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--window-size=1280,900".to_owned(),
            format!("--user-data-dir={}", browser.profile.path().display()),
        ];
        let wished = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let made = browser.ask("POST", "/session", &wished);
        made["sessionId"].as_str().unwrap_or_else(|| panic!("{made}")).clone_into(&mut browser.session);
        Some(browser)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        // chromedriver keeps connections open, whatever it is asked.
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let text = String::from_utf8_lossy(&body);
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{method} {path}: {} {}", value["error"], value["message"]);
        value
    }

    fn of_session(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    /// Opens a page and waits until it is there.
    pub(crate) fn open(&self, url: &str) {
        self.of_session("POST", "/url", &json!({ "url": url }));
    }

    /// What a script returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.of_session("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What a script hands to its last argument, later.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.of_session("POST", "/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Waits until a script returns something true.
    pub(crate) fn until(&self, script: &str) -> Value {
        let begin = Instant::now();
        loop {
            let value = self.run(script);
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            assert!(
                begin.elapsed() < LONG,
                "never true: {script}\n{}",
                self.run("return document.body.innerText")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses keys one after the other.
    pub(crate) fn press(&self, keys: &[&str]) {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| {
                [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
            })
            .collect();
        self.of_session(
            "POST",
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }),
        );
    }

    fn devtools(&self, command: &str, parameters: Value) {
        self.of_session("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    /// A phone's window, or a computer's.
    pub(crate) fn width(&self, width: u32, height: u32) {
        let parameters =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", parameters);
    }

    /// What the system says of dark and light.
    pub(crate) fn scheme(&self, scheme: &str) {
        let parameters = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", parameters);
    }

    /// What the page's console said since the last look, errors and warnings.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.of_session("POST", "/se/log", &json!({ "type": "browser" }));
        let log = log.as_array().cloned().unwrap_or_default();
        let is_complaint = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        log.iter().filter(is_complaint).map(|entry| entry["message"].to_string()).collect()
    }

    /// The window's title and address.
    pub(crate) fn place(&self) -> (String, String) {
        let text = |path| self.of_session("GET", path, &Value::Null).as_str().unwrap_or_default().to_owned();
        (text("/title"), text("/url"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.of_session("DELETE", "", &json!({}));
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

/// The version of axe-core that pages are checked with.
const AXE: &str = "4.10.3";

/// The accessibility checks' script, fetched once by npm. None, with a line that says so, where that can't be and isn't required.
pub(crate) fn axe() -> Option<String> {
    let cache = std::env::var_os("EVOLVE_CACHE").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        Some(
            std::env::var_os("XDG_CACHE_HOME")
                .map_or_else(|| home.join(".cache"), PathBuf::from)
                .join("evolve"),
        )
    });
    let folder = cache.unwrap_or_else(std::env::temp_dir).join(format!("axe-core-{AXE}"));
    let script = folder.join("package/axe.min.js");
    match fetched(&folder, &script) {
        Ok(script) => Some(script),
        Err(why) => {
            assert!(!is_required(), "axe-core {AXE} can't be fetched: {why}");
            say(&format!(
                "SKIPPED: axe-core {AXE} can't be fetched by npm ({why}), so accessibility isn't checked"
            ));
            None
        }
    }
}

fn fetched(folder: &Path, script: &Path) -> Result<String, String> {
    if let Ok(text) = std::fs::read_to_string(script) {
        return Ok(text);
    }
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    // Into a folder of its own first: two tests may fetch it at once.
    let temporary = tempfile::tempdir_in(folder).map_err(|error| error.to_string())?;
    let run = |command: &mut Command| {
        let output = command.current_dir(temporary.path()).output().map_err(|error| error.to_string())?;
        output
            .status
            .success()
            .then_some(())
            .ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
    };
    run(Command::new("npm").args(["pack", "--silent", &format!("axe-core@{AXE}")]))?;
    run(Command::new("tar").args(["-xzf", &format!("axe-core-{AXE}.tgz"), "package/axe.min.js"]))?;
    let text = std::fs::read_to_string(temporary.path().join("package/axe.min.js"))
        .map_err(|error| error.to_string())?;
    std::fs::create_dir_all(folder.join("package")).map_err(|error| error.to_string())?;
    std::fs::rename(temporary.path().join("package/axe.min.js"), script)
        .map_err(|error| error.to_string())?;
    Ok(text)
}
