//! The supervisor's end of the pipes.

use std::fs::File;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use trial_protocol::{Go, Reply, Request, read_frame, write_frame};

/// Requests come by standard input, replies go by what was standard output.
pub(crate) struct Supervisor {
    requests: Receiver<io::Result<Request>>,
    start: Receiver<io::Result<()>>,
    replies: File,
}

impl Supervisor {
    /// Takes over standard input and output. From here on whatever anyone prints goes to standard error, so that no
    /// kernel can print a reply; and when standard input ends, so does this process.
    pub(crate) fn connect() -> io::Result<Self> {
        let replies = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        let (request_sender, requests) = mpsc::channel();
        let (start_sender, start) = mpsc::channel();
        thread::spawn(move || {
            let mut input = io::stdin().lock();
            match read_frame::<Request>(&mut input) {
                Ok(Some(request)) => drop(request_sender.send(Ok(request))),
                Ok(None) => leave(),
                Err(error) => drop(request_sender.send(Err(error))),
            }
            match read_frame::<Go>(&mut input) {
                Ok(Some(Go {})) => drop(start_sender.send(Ok(()))),
                Ok(None) => leave(),
                Err(error) => drop(start_sender.send(Err(error))),
            }
            // Nothing more is expected but the end.
            let _ = io::copy(&mut input, &mut io::sink());
            leave();
        });
        Ok(Self { requests, start, replies })
    }

    /// Waits for the request.
    pub(crate) fn request(&mut self) -> io::Result<Request> {
        self.requests.recv().map_err(gone)?
    }

    /// Says that everything is ready, and waits for the start signal.
    pub(crate) fn wait_for_start(&mut self) -> io::Result<()> {
        self.reply(&Reply::Ready)?;
        self.start.recv().map_err(gone)?
    }

    pub(crate) fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        write_frame(&mut self.replies, reply)
    }
}

fn gone(_: mpsc::RecvError) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the supervisor is gone")
}

/// Ends the process at once: destructors would wait for what MLX's threads are computing.
#[expect(unsafe_code, reason = "std has no exit without destructors")]
fn leave() -> ! {
    // SAFETY: has no preconditions.
    unsafe { libc::_exit(1) }
}
