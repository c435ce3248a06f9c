//! What comes over pipes and sockets from processes that can't be trusted: frames, and the messages in them. Whatever the bytes and
//! however they are cut, the same frames come out, nothing panics, and what was understood can be said again.

#![no_main]

use std::fmt::Debug;

use evaluator::frames::Frames;
use evaluator::{order, wire};
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

/// All frames up to the first error, and whether there was one. The bytes arrive `chunk` at a time.
fn frames(bytes: &[u8], chunk: usize, mut codec: LengthDelimitedCodec) -> (Vec<BytesMut>, bool) {
    let (mut found, mut buffer) = (Vec::new(), BytesMut::new());
    for chunk in bytes.chunks(chunk) {
        buffer.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

/// A message that was understood means the same when it is written and read again. (Compared as text: NaN is not itself.)
fn is_stable<T: Serialize + DeserializeOwned + Debug>(frame: &[u8]) -> bool {
    let Ok(message) = serde_json::from_slice::<T>(frame) else { return false };
    let text = serde_json::to_vec(&message).expect("a message can be written");
    let again: T = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(text, serde_json::to_vec(&again).expect("a message can be written"), "{message:?}");
    true
}

fn messages(frame: &[u8]) {
    is_stable::<trial_protocol::Reply>(frame);
    is_stable::<trial_protocol::Request>(frame);
    is_stable::<trial_protocol::Challenge>(frame);
    is_stable::<trial_protocol::Go>(frame);
    is_stable::<trial_protocol::GradeReply>(frame);
    is_stable::<trial_protocol::GradeRequest>(frame);
    is_stable::<trial_protocol::Description>(frame);
    is_stable::<order::News>(frame);
    is_stable::<order::Order>(frame);
    is_stable::<order::Ask>(frame);
    is_stable::<wire::Reply>(frame);
    is_stable::<wire::Request>(frame);
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, data)) = data.split_first() else { return };
    if how % 2 == 0 {
        // The whole input as one message: most bytes would else be spent on lengths.
        messages(data);
        return;
    }
    let chunk = usize::from(how / 2) + 1;
    // As the evaluator reads a launcher's news.
    let (whole, failed) = frames(data, data.len().max(1), order::codec());
    let (again, failed_again) = frames(data, chunk, order::codec());
    assert_eq!((&whole, failed), (&again, failed_again));
    let _ = frames(data, chunk, wire::codec());
    let mut rest = data;
    // As it reads answers of runners and graders, which may lie in a raw frame of a length that is known.
    let mut answers = Frames::new(data, tokio::io::sink());
    let mut raw = Frames::new(data, tokio::io::sink());
    for frame in &whole {
        messages(frame);
        // The launcher and the runner read the same bytes in the simpler way.
        let read = trial_protocol::read_frame::<serde_json::Value>(&mut rest);
        let understood = serde_json::from_slice::<serde_json::Value>(frame);
        assert_eq!(read.is_ok(), understood.is_ok());
        assert_eq!(block_on(answers.receive::<serde_json::Value>()).ok(), understood.ok());
        assert_eq!(block_on(raw.receive_raw(frame.len() as u64)).as_deref(), Ok(&frame[..]));
    }
    assert!(block_on(answers.receive::<serde_json::Value>()).is_err(), "more than there is");
    if failed {
        assert!(
            trial_protocol::read_frame::<serde_json::Value>(&mut rest).is_err(),
            "too long for one, not for the other"
        );
    }
});
