//! What does a WebSocket want of HTTP/2?

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};

/// How many bytes a peer may send on one stream before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;

/// How many streams a peer may have open.
const STREAMS: u32 = 256;

/// How long a connection may be silent before its peer is asked whether it is there, and how
/// long that may take to answer: as in a WebSocket.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// hyper-util's server for HTTP/1.1 and HTTP/2, with settings for WebSockets.
///
/// Over HTTP/2, extended CONNECT is allowed (RFC 8441 §3), and the window of the
/// connection is as wide as those of all its streams together, 256 times 64 KiB: what a
/// slow handler leaves unread on one stream never stalls the others. To be used with
/// `serve_connection_with_upgrades`. A peer that has said nothing for 30 s is sent a ping
/// (RFC 9113 §6.7), and has 30 s to answer; one that does not is gone, and so are its streams.
///
/// Over HTTP/1.1, the head of each request has to be there within 30 s, which is hyper's own
/// setting, and has no effect without a timer. Until the client has said enough to tell the
/// versions of HTTP apart, nothing counts: [`serve_stream`](crate::serve_stream) does.
pub fn server() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * STREAMS);
    server
}

/// How long it may take to learn how a stream has ended. It takes as long only where our own
/// bytes wait for a peer that reads nothing, and has left nonetheless.
const PATIENCE: Duration = Duration::from_secs(1);

/// A stream of HTTP/2 that carries a WebSocket.
///
/// To a connection, a stream that is reset is what a TCP connection is that is reset
/// (RFC 8441 §5): it ends with 1006, and the cause is kept.
pub(crate) struct Http2Stream {
    io: TokioIo<Upgraded>,
    /// Do bytes wait until the peer takes more?
    blocked: bool,
    /// Present when the peer's side has ended, while it is not known how.
    parting: Option<Parting>,
    /// Why it was reset. hyper says so once, to whoever comes first.
    cause: Option<Arc<io::Error>>,
}

/// Who waits to learn how a stream has ended, and how long.
struct Parting {
    reader: Waker,
    patience: Pin<Box<Sleep>>,
}

impl Http2Stream {
    pub(crate) fn new(upgraded: Upgraded) -> Self {
        Self { io: TokioIo::new(upgraded), blocked: false, parting: None, cause: None }
    }

    /// Was it an end, or a reset? hyper calls either an end when the reset says `CANCEL` or
    /// `NO_ERROR`. It has the cause in the task that writes for us, which may learn of it
    /// later than we do, and tells when it ends. So it is told that there is nothing more
    /// to write; where there is, those who write it are told.
    fn poll_parted(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(cause) = &self.cause {
            return Poll::Ready(Err(reset_by(cause)));
        }
        if !self.blocked {
            let shut = Pin::new(&mut self.io).poll_shutdown(cx);
            if shut.is_ready() {
                return self.seen(shut);
            }
        }
        if Handle::try_current().is_err() {
            // There is nothing to wait with.
            return Poll::Ready(Ok(()));
        }
        let parting = self.parting.get_or_insert_with(|| Parting {
            reader: cx.waker().clone(),
            patience: Box::pin(sleep(PATIENCE)),
        });
        parting.reader.clone_from(cx.waker());
        parting.patience.as_mut().poll(cx).map(Ok)
    }

    /// What hyper says, with a reset as such.
    fn seen<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        outcome.map_err(|error| match error.kind() {
            io::ErrorKind::Other => reset_by(self.cause.insert(Arc::new(error))),
            _ => error,
        })
    }

    /// As [`seen`](Self::seen), of bytes that were to be written.
    fn written<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.blocked = outcome.is_pending();
        if let Some(parting) = self.parting.as_ref().filter(|_| !self.blocked) {
            parting.reader.wake_by_ref();
        }
        self.seen(outcome)
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.parting.is_none() {
            let read = Pin::new(&mut self.io).poll_read(cx, buf);
            ready!(self.seen(read))?;
        }
        if buf.filled().len() > before || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.poll_parted(cx)
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.written(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.seen(shut)
    }
}

/// What became of a stream, and what hyper says about it.
#[derive(Debug, thiserror::Error)]
#[error("the stream was reset")]
struct Reset(#[source] Arc<io::Error>);

fn reset_by(cause: &Arc<io::Error>) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, Reset(Arc::clone(cause)))
}
