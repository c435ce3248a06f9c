//! What the command writes to standard error: its beginning and its end, never more than asked for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

pub(crate) struct Capture {
    /// None once every writer is gone.
    pipe: Option<File>,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    total: usize,
}

impl Capture {
    pub(crate) fn new(pipe: File, limit: usize) -> io::Result<Self> {
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        Ok(Self { pipe: Some(pipe), head: Vec::new(), tail: VecDeque::new(), half: limit / 2, total: 0 })
    }

    pub(crate) fn pipe(&self) -> Option<&File> {
        self.pipe.as_ref()
    }

    /// Takes one buffer of what there is. One only, so that a flood can't keep us from the deadline.
    /// Returns whether there may be more.
    pub(crate) fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let Some(pipe) = &mut self.pipe else { return false };
        match pipe.read(&mut buffer) {
            Ok(0) => {
                self.pipe = None;
                false
            }
            Ok(length) => {
                self.keep(&buffer[..length]);
                true
            }
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        }
    }

    /// Takes what is left, once everybody who could write is dead.
    pub(crate) fn drain(&mut self) {
        while self.read() {}
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.total += bytes.len();
        let room = (self.half - self.head.len()).min(bytes.len());
        self.head.extend(&bytes[..room]);
        self.tail.extend(&bytes[room..]);
        let excess = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..excess);
    }

    pub(crate) fn text(&self) -> String {
        let mut text = self.head.clone();
        let left_out = self.total - self.head.len() - self.tail.len();
        if left_out > 0 {
            text.extend(format!("\n... ({left_out} bytes left out) ...\n").bytes());
        }
        text.extend(&self.tail);
        String::from_utf8_lossy(&text).into_owned()
    }
}
