//! The supervisor's end of the pipes.

use std::fs::File;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde::de::DeserializeOwned;
use serde_json::Value;
use trial_protocol::{Reply, read_frame, write_frame, write_raw};

/// Messages come by standard input, replies go by what was standard output.
pub(crate) struct Supervisor {
    messages: Receiver<io::Result<Value>>,
    replies: File,
}

impl Supervisor {
    /// Takes over standard input and output. From here on whatever anyone prints goes to standard error, so that no
    /// kernel can print a reply; and when standard input ends, so does this process.
    pub(crate) fn connect() -> io::Result<Self> {
        let replies = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            let mut input = io::stdin().lock();
            loop {
                let message = read_frame(&mut input);
                match message.transpose() {
                    None => leave(),
                    Some(message) => {
                        let broken = message.is_err();
                        let lost = sender.send(message).is_err();
                        if broken || lost {
                            break;
                        }
                    }
                }
            }
            // Nothing more is expected but the end.
            let _ = io::copy(&mut input, &mut io::sink());
            leave();
        });
        Ok(Self { messages, replies })
    }

    /// Waits for the next message. When there is none, the process ends.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the supervisor is gone");
        Ok(serde_json::from_value(self.messages.recv().map_err(gone)??)?)
    }

    pub(crate) fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        write_frame(&mut self.replies, reply)
    }

    /// A reply that is followed by a raw frame.
    pub(crate) fn reply_with(&mut self, reply: &Reply, raw: &[u8]) -> io::Result<()> {
        self.reply(reply)?;
        write_raw(&mut self.replies, raw)
    }
}

/// Stays until standard input ends: the supervisor may want to look at this process after the last reply.
pub(crate) fn wait_for_end() -> ! {
    loop {
        thread::park();
    }
}

/// Ends the process at once: destructors would wait for what MLX's threads are computing.
#[expect(unsafe_code, reason = "std has no exit without destructors")]
fn leave() -> ! {
    // SAFETY: has no preconditions.
    unsafe { libc::_exit(1) }
}
