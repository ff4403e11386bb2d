//! How is an HTTP/2 stream used as a transport, and an end distinguished from a reset?

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};

/// How long to wait for the cause of an end. It is used up only if the peer has ended its side
/// while our bytes wait for flow control.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How many bytes are written at once. hyper copies each write, and queues up to three of them.
const WRITE: usize = 32 * 1024;

/// An HTTP/2 stream that carries a WebSocket (RFC 8441).
///
/// A reset of the stream equals a TCP reset (RFC 8441 §5): the connection ends with 1006, and
/// the error carries the cause.
pub(crate) struct Http2Stream {
    io: TokioIo<Upgraded>,
    /// Whether written bytes wait for flow control.
    write_blocked: bool,
    /// The peer's side has ended, and it is not known yet whether by a reset.
    pending_end: Option<PendingEnd>,
    /// Why the stream was reset. hyper returns this error only once, to a read or to a write.
    reset: Option<Arc<io::Error>>,
}

/// The reader that waits for the cause of an end.
struct PendingEnd {
    reader: Waker,
    timeout: Pin<Box<Sleep>>,
}

impl Http2Stream {
    pub(crate) fn new(upgraded: Upgraded) -> Self {
        Self { io: TokioIo::new(upgraded), write_blocked: false, pending_end: None, reset: None }
    }

    /// Decides whether the stream ended or was reset.
    ///
    /// hyper reports a reset with `CANCEL` or `NO_ERROR` as a plain end to the reader. hyper's
    /// write task knows the cause, possibly later, and reports it when the write side is shut
    /// down. So this shuts the write side down, unless bytes wait to be written: then the
    /// writer gets the error.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(cause) = &self.reset {
            return Poll::Ready(Err(reset_error(cause)));
        }
        if !self.write_blocked {
            let shut = Pin::new(&mut self.io).poll_shutdown(cx);
            if shut.is_ready() {
                return self.record_reset(shut);
            }
        }
        if Handle::try_current().is_err() {
            // There is no timer outside of a runtime.
            return Poll::Ready(Ok(()));
        }
        let end = self.pending_end.get_or_insert_with(|| PendingEnd {
            reader: cx.waker().clone(),
            timeout: Box::pin(sleep(END_TIMEOUT)),
        });
        end.reader.clone_from(cx.waker());
        end.timeout.as_mut().poll(cx).map(Ok)
    }

    /// Turns hyper's error for a reset into [`io::ErrorKind::ConnectionReset`], and keeps it.
    fn record_reset<T>(&mut self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        result.map_err(|error| match error.kind() {
            io::ErrorKind::Other => reset_error(self.reset.insert(Arc::new(error))),
            _ => error,
        })
    }

    /// Like [`record_reset`](Self::record_reset), for a write: also wakes a reader that waits
    /// for the cause of an end.
    fn after_write<T>(&mut self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.write_blocked = result.is_pending();
        if let Some(end) = self.pending_end.as_ref().filter(|_| !self.write_blocked) {
            end.reader.wake_by_ref();
        }
        self.record_reset(result)
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.pending_end.is_none() {
            let read = Pin::new(&mut self.io).poll_read(cx, buf);
            ready!(self.record_reset(read))?;
        }
        if buf.filled().len() > before || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.poll_end(cx)
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let buf = buf.get(..WRITE).unwrap_or(buf);
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.after_write(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.after_write(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.record_reset(shut)
    }
}

/// The reset of a stream, with hyper's error as its source.
#[derive(Debug, thiserror::Error)]
#[error("the stream was reset")]
struct StreamReset(#[source] Arc<io::Error>);

fn reset_error(cause: &Arc<io::Error>) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, StreamReset(Arc::clone(cause)))
}
