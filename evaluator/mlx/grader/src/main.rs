//! The grader's process: requests come by standard input, replies go by standard output, until the input ends.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use grader::session::Session;
use trial_protocol::{GradeReply, GradeRequest, read_frame, write_frame, write_raw};

fn main() -> ExitCode {
    // MLX's compiler on a CPU starts `g++` and loads what it finds in the temporary folder. Nothing here needs it.
    mlx_rs::transforms::compile::disable_compile();
    match trainer::compiled::adopt().and_then(|()| serve(io::stdin().lock(), io::stdout().lock())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("grader: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Reads requests and answers them.
fn serve(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut session = Session::default();
    while let Some(request) = read_frame::<GradeRequest>(&mut input)? {
        let raw = match session.expected(&request) {
            Some(bytes) => receive(&mut input, bytes)?,
            None => Ok(Vec::new()),
        };
        let answered = match raw {
            Ok(raw) => {
                catch_unwind(AssertUnwindSafe(|| session.answer(&request, &raw))).unwrap_or_else(|_| {
                    let message = "the grader panicked; its own words are on standard error".into();
                    (GradeReply::Failed { message }, None)
                })
            }
            Err(message) => (GradeReply::Failed { message }, None),
        };
        write_frame(&mut output, &answered.0)?;
        if let Some(raw) = answered.1 {
            write_raw(&mut output, &raw)?;
        }
    }
    Ok(())
}

/// Reads a raw frame. One of another length than it must have is thrown away, and said.
fn receive(mut input: impl Read, bytes: u64) -> io::Result<Result<Vec<u8>, String>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    let mut frame = input.take(length);
    if length != bytes {
        io::copy(&mut frame, &mut io::sink())?;
        return Ok(Err(format!("an answer of {length} bytes, must be {bytes}")));
    }
    let mut body = vec![0; bytes as usize];
    frame.read_exact(&mut body)?;
    Ok(Ok(body))
}

#[expect(clippy::print_stderr, reason = "standard output is the supervisor's")]
fn complain(message: &str) {
    eprintln!("{message}");
}
