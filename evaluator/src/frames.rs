//! Frames of [`trial_protocol`] on a child's pipes, from our side.
//!
//! The other end may be a candidate's process: nothing is read beyond what was asked for, lengths are known or bounded
//! before anything is kept, and whatever doesn't fit is a finding and no error of ours.

use std::io::ErrorKind;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use trial_protocol::{MAX_FRAME, MAX_RAW};

/// Both directions of one conversation.
#[derive(Debug)]
pub struct Frames<R, W> {
    from: R,
    to: W,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// The other end closed its pipes.
    Closed,
    /// What came is not an answer.
    Nonsense(String),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Frames<R, W> {
    /// A conversation over these two ends.
    pub fn new(from: R, to: W) -> Self {
        Self { from, to }
    }

    /// Sends a message, in one write.
    pub async fn send<T: Serialize + Sync>(&mut self, message: &T) -> Result<(), Silence> {
        let mut frame = vec![0; 4];
        serde_json::to_writer(&mut frame, message).map_err(|error| Silence::Nonsense(error.to_string()))?;
        let length = length(frame.len() - 4, MAX_FRAME)?;
        frame[..4].copy_from_slice(&length.to_le_bytes());
        self.write(&frame).await
    }

    /// Sends a raw frame.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Silence> {
        self.write(&length(bytes.len(), MAX_RAW)?.to_le_bytes()).await?;
        self.write(bytes).await
    }

    /// Receives a message.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, Silence> {
        let length = self.length().await?;
        if length > MAX_FRAME {
            return Err(unreadable(&format!("a frame of {length} bytes")));
        }
        let body = self.body(length).await?;
        serde_json::from_slice(&body).map_err(|error| unreadable(&error.to_string()))
    }

    /// Receives a raw frame, which has to have exactly that many bytes.
    pub async fn receive_raw(&mut self, bytes: u64) -> Result<Vec<u8>, Silence> {
        let length = self.length().await?;
        if u64::from(length) != bytes || length > MAX_RAW {
            return Err(unreadable(&format!("a raw frame of {length} bytes instead of {bytes}")));
        }
        self.body(length).await
    }

    /// Whether something lies there that nobody has asked for. Doesn't wait; what it finds is lost.
    pub async fn has_unasked(&mut self) -> bool {
        let read = std::pin::pin!(self.from.read_u8());
        matches!(futures::poll!(read), std::task::Poll::Ready(Ok(_)))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Silence> {
        let written = async {
            self.to.write_all(bytes).await?;
            self.to.flush().await
        };
        written.await.map_err(|_| Silence::Closed)
    }

    async fn length(&mut self) -> Result<u32, Silence> {
        self.from.read_u32_le().await.map_err(|error| closed(&error))
    }

    async fn body(&mut self, length: u32) -> Result<Vec<u8>, Silence> {
        let mut body = Vec::new();
        // It grows with what comes, not with what was announced.
        let read = (&mut self.from).take(u64::from(length)).read_to_end(&mut body).await;
        match read {
            Ok(read) if read == length as usize => Ok(body),
            // A frame cut short is what a dying process leaves.
            Ok(_) => Err(Silence::Closed),
            Err(error) => Err(closed(&error)),
        }
    }
}

fn length(bytes: usize, limit: u32) -> Result<u32, Silence> {
    u32::try_from(bytes).ok().filter(|length| *length <= limit).ok_or_else(|| {
        Silence::Nonsense(format!("answer can't be had: a message of {bytes} bytes is too long to be sent"))
    })
}

fn unreadable(words: &str) -> Silence {
    Silence::Nonsense(format!("answer is unreadable: {words}"))
}

fn closed(error: &std::io::Error) -> Silence {
    match error.kind() {
        ErrorKind::InvalidData => unreadable(&error.to_string()),
        _ => Silence::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{Empty, Sink};
    use trial_protocol::{Reply, write_frame, write_raw};

    fn hears(bytes: &[u8]) -> Frames<&[u8], Sink> {
        Frames::new(bytes, tokio::io::sink())
    }

    #[tokio::test]
    async fn what_the_protocols_own_functions_write_is_read_and_the_other_way_round() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &Reply::Trained { bytes: 3 }).unwrap();
        write_raw(&mut bytes, b"abc").unwrap();
        let mut frames = hears(&bytes);
        assert_eq!(frames.receive::<Reply>().await.unwrap(), Reply::Trained { bytes: 3 });
        assert_eq!(frames.receive_raw(3).await.unwrap(), b"abc");
        assert_eq!(frames.receive::<Reply>().await.unwrap_err(), Silence::Closed);

        let mut sent: Frames<Empty, Vec<u8>> = Frames::new(tokio::io::empty(), Vec::new());
        sent.send(&Reply::Trained { bytes: 3 }).await.unwrap();
        sent.send_raw(b"abc").await.unwrap();
        assert_eq!(sent.to, bytes);
    }

    #[tokio::test]
    async fn a_raw_frame_of_another_length_is_nonsense_and_a_short_one_the_end() {
        let mut bytes = Vec::new();
        write_raw(&mut bytes, b"abcd").unwrap();
        for expected in [3, 5] {
            let Err(Silence::Nonsense(words)) = hears(&bytes).receive_raw(expected).await else {
                panic!("{expected} bytes were read")
            };
            assert!(words.contains(&format!("4 bytes instead of {expected}")), "{words}");
        }
        assert_eq!(hears(&bytes[..6]).receive_raw(4).await, Err(Silence::Closed));
    }

    #[tokio::test]
    async fn a_flood_is_refused_before_it_is_read() {
        let announced = u32::MAX.to_le_bytes();
        assert!(matches!(hears(&announced).receive::<Reply>().await, Err(Silence::Nonsense(_))));
        assert!(matches!(
            hears(b"\x05\0\0\0hello").receive::<Reply>().await,
            Err(Silence::Nonsense(words)) if words.contains("unreadable")
        ));
    }

    #[tokio::test]
    async fn words_that_nobody_asked_for_are_noticed() {
        assert!(hears(b"early").has_unasked().await);
        assert!(!hears(b"").has_unasked().await);
        let (quiet, _other) = tokio::io::duplex(8);
        assert!(!Frames::new(quiet, tokio::io::sink()).has_unasked().await);
    }
}
