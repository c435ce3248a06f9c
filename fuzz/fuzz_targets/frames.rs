//! What comes over pipes and sockets from processes that can't be trusted: frames, and the messages in them. Whatever the bytes and
//! however they are cut, the same frames come out, nothing panics, and what was understood can be said again.

#![no_main]

use std::fmt::Debug;

use evaluator::{order, wire};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

/// As the evaluator reads from launchers, runners and graders.
fn codec() -> LengthDelimitedCodec {
    let longest = trial_protocol::MAX_FRAME as usize;
    LengthDelimitedCodec::builder().little_endian().max_frame_length(longest).new_codec()
}

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
    let (whole, failed) = frames(data, data.len().max(1), codec());
    assert_eq!((&whole, failed), (&frames(data, chunk, codec()).0, frames(data, chunk, codec()).1));
    let _ = frames(data, chunk, wire::codec());
    let mut rest = data;
    for frame in &whole {
        messages(frame);
        // The launcher and the runner read the same bytes in the simpler way.
        let read = trial_protocol::read_frame::<serde_json::Value>(&mut rest);
        assert_eq!(read.is_ok(), serde_json::from_slice::<serde_json::Value>(frame).is_ok());
    }
    if failed {
        assert!(
            trial_protocol::read_frame::<serde_json::Value>(&mut rest).is_err(),
            "too long for one, not for the other"
        );
    }
});
