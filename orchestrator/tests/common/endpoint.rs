//! An endpoint that does what it is told to, down to single bytes: what a mock of HTTP can't do. One thread for each connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// What it does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answers with these bytes, each piece after a pause, and closes.
    Send(Vec<(Duration, Vec<u8>)>),
    /// Answers with these bytes, and then never closes.
    SendAndHang(Vec<u8>),
    /// Sends these bytes again and again, slowly, after the first ones.
    Drip(Vec<u8>, Vec<u8>),
    /// Resets the connection.
    Reset,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The first line and the headers.
    pub(crate) head: String,
    pub(crate) body: Value,
}

pub(crate) struct Endpoint {
    pub(crate) base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Endpoint {
    /// `act` is told the request's number, from 0, and what was asked.
    pub(crate) fn start(act: impl Fn(usize, &Asked) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (act, log) = (Arc::new(act), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (act, log) = (act.clone(), log.clone());
                std::thread::spawn(move || serve(stream, &log, &*act));
            }
        });
        Self { base, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Asked>>, act: &(impl Fn(usize, &Asked) -> Act + ?Sized)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let asked = Asked { head, body: serde_json::from_slice(&body).unwrap_or_default() };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.len() - 1
    };
    match act(number, &asked) {
        Act::Send(pieces) => {
            for (pause, bytes) in pieces {
                std::thread::sleep(pause);
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        }
        Act::SendAndHang(bytes) => {
            let _ = stream.write_all(&bytes);
            // Until the other side has had enough.
            let _ = reader.read(&mut [0; 1]);
        }
        Act::Drip(first, rest) => {
            let _ = stream.write_all(&first);
            while stream.write_all(&rest).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Act::Reset => reset(&stream),
    }
}

/// Closes so that the other side gets a reset and not an end.
fn reset(stream: &TcpStream) {
    use std::os::fd::AsFd as _;
    let _ = rustix::net::sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO));
}

/// A whole HTTP response. `headers` are lines without their end.
pub(crate) fn response(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Act {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for header in headers {
        bytes.push_str(header);
        bytes.push_str("\r\n");
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(body);
    Act::Send(vec![(Duration::ZERO, bytes)])
}

pub(crate) fn json_response(status: u16, body: &Value) -> Act {
    response(status, &["content-type: application/json"], body.to_string())
}

pub(crate) fn error(status: u16, message: &str, code: &str) -> Act {
    json_response(status, &json!({"error": {"message": message, "type": code, "code": code}}))
}

/// A chat completion in one piece, with 100 tokens in and 20 out.
pub(crate) fn completion(text: &str) -> Act {
    json_response(
        200,
        &json!({
            "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": text } }],
            "usage": { "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 }
        }),
    )
}

/// The beginning of a streamed answer, its end open.
pub(crate) fn stream_of(text: &str) -> Vec<u8> {
    let mut bytes =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec();
    bytes.extend(event(&json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})));
    let letters: Vec<char> = text.chars().collect();
    for piece in letters.chunks(7.max(letters.len() / 500)) {
        let piece: String = piece.iter().collect();
        bytes.extend(event(&json!({"choices": [{"index": 0, "delta": {"content": piece}}]})));
    }
    bytes
}

/// What ends one.
pub(crate) fn stream_end() -> Vec<u8> {
    let mut bytes = event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    bytes.extend(event(&json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}})));
    bytes.extend(b"data: [DONE]\n\n");
    bytes
}

pub(crate) fn event(data: &Value) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

/// A chat completion in pieces.
pub(crate) fn streamed(text: &str) -> Act {
    Act::Send(vec![(Duration::ZERO, stream_of(text)), (Duration::from_millis(5), stream_end())])
}
