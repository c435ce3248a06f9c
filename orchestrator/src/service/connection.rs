//! Connections that nobody has to wait for: one that takes nothing, or says nothing, is closed, and there are only so many.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Connections at once; further ones wait to be accepted.
const MOST: usize = 512;

/// A client that takes nothing for so long is gone, or as good as gone.
const STALLED: Duration = Duration::from_secs(20);

/// A connection on which nothing moves in either direction for so long. Event streams send a sign of life more often.
const IDLE: Duration = Duration::from_secs(90);

/// A listener of watched connections.
#[derive(Debug)]
pub(super) struct Watched {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl Watched {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(MOST)) }
    }
}

impl Listener for Watched {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed.
        let permit = self.free.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Events are small and shall be there at once; without this they are only later.
        stream.set_nodelay(true).ok();
        let timer = Box::pin(tokio::time::sleep(IDLE));
        (Connection { stream, timer, is_writing: false, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Until when something must have moved.
    timer: Pin<Box<Sleep>>,
    /// Whether bytes wait to be taken by the client.
    is_writing: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn moved(&mut self, limit: Duration) {
        self.timer.as_mut().reset(Instant::now() + limit);
    }

    /// Still nothing: pending, or an error once the time is up.
    fn waits<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn wrote<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.is_writing = false;
            self.moved(IDLE);
            return result;
        }
        if !self.is_writing {
            self.is_writing = true;
            self.moved(STALLED);
        }
        self.waits(context)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if result.is_ready() {
            // What a client says doesn't excuse it from taking what it is sent.
            if !self.is_writing {
                self.moved(IDLE);
            }
            return result;
        }
        self.waits(context)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.wrote(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
