//! A real `evolve serve`, and a client that says exactly what it is told to say.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Project;

/// How long anything may take before a test fails.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A running server; stopped when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    /// What it said of itself.
    pub(crate) said: Value,
    /// Sent with every request.
    pub(crate) token: Option<String>,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Server {
    /// Starts it in the project's folder, at a free port.
    pub(crate) fn start(project: &Project, arguments: &[&str]) -> Self {
        let mut all = vec!["serve", "--json", "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        Self::of(project.command(&all))
    }

    /// The server that this command starts with `--json`.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let address =
            said["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { child, address, said, token: None }
    }

    /// One request with exactly these headers, and `Host`, unless it is among them.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.write(method, path, headers, body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status =
            lines.next().unwrap_or_default().split(' ').nth(1).and_then(|status| status.parse().ok());
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Answer {
            status: status.unwrap_or_else(|| panic!("no answer to {method} {path}: {text:?}")),
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    fn write(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// What is there, as JSON.
    pub(crate) fn read(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("Content-Type", "application/json")], &body.to_string())
    }

    /// Reads a path again and again until its JSON is as wished.
    pub(crate) fn until(&self, path: &str, wished: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let value = self.read(path);
            if wished(&value) {
                return value;
            }
            assert!(begun.elapsed() < LONG, "{path} stays {value:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// An event stream.
    pub(crate) fn events(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let stream = self.write("GET", path, headers, "");
        let mut events = Events { reader: BufReader::new(stream) };
        let mut line = String::new();
        events.reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        events
    }

    /// Sends it a signal and waits for its end; how it ended, and how long that took.
    pub(crate) fn end(mut self, signal: &str) -> (std::process::ExitStatus, Duration) {
        let begun = Instant::now();
        self.signal(signal);
        let status = self.child.wait().unwrap();
        (status, begun.elapsed())
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        Command::new("kill").args([signal, &pid]).status().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("-TERM");
            self.child.wait().unwrap();
        }
    }
}

/// An open event stream.
pub(crate) struct Events {
    reader: BufReader<TcpStream>,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

impl Events {
    /// The next one; none when the stream has ended.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let mut event = Event { name: String::new(), id: String::new(), data: Value::Null };
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // Lines of the chunked encoding, headers and comments have none of these names.
            match line.trim_end().split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("id", id)) => id.clone_into(&mut event.id),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ => {}
            }
            if line.trim().is_empty() && !event.name.is_empty() {
                return Some(event);
            }
        }
    }

    /// All up to one that is as wished, that one included.
    pub(crate) fn until(&mut self, wished: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ended after {events:?}"));
            events.push(event);
            if wished(events.last().unwrap()) {
                return events;
            }
        }
    }
}
