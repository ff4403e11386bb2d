//! How is an HTTP/2 stream read and written as a byte stream?

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::inbox::Inbox;

/// The maximum length of a DATA frame: the size that every server accepts (RFC 9113 §6.5.2).
const MAX_DATA: usize = 16 * 1024;

/// The HTTP/2 stream of one WebSocket.
///
/// A reset of the stream, and the loss of the HTTP/2 connection, become
/// [`ConnectionReset`](io::ErrorKind::ConnectionReset) with its cause (RFC 8441 §5).
pub(crate) struct Http2Stream {
    send: SendStream<Bytes>,
    inbox: Inbox,
    /// Keeps the HTTP/2 connection open.
    _connection: Arc<dyn Any + Send + Sync>,
}

impl Http2Stream {
    pub(super) fn new(
        send: SendStream<Bytes>,
        inbox: Inbox,
        connection: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self { send, inbox, _connection: connection }
    }

    /// Waits for flow control. Returns how many of `wanted` bytes may be sent.
    fn poll_capacity(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(wanted);
        loop {
            // `poll_capacity` only reports increases.
            let capacity = self.send.capacity();
            if capacity > 0 {
                return Poll::Ready(Ok(capacity.min(wanted)));
            }
            let Some(increase) = ready!(self.send.poll_capacity(cx)) else {
                return Poll::Ready(Err(self.reset_cause(cx)));
            };
            increase.map_err(reset)?;
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, data: Bytes, is_end: bool) -> io::Result<()> {
        self.send.send_data(data, is_end).map_err(|_| self.reset_cause(cx))
    }

    /// Why nothing can be sent any more.
    fn reset_cause(&mut self, cx: &mut Context<'_>) -> io::Error {
        match self.send.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => reset(reason.into()),
            Poll::Ready(Err(error)) => reset(error),
            Poll::Pending => io::ErrorKind::BrokenPipe.into(),
        }
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inbox.poll_read(cx, buf).map_err(reset)
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let capacity = ready!(this.poll_capacity(cx, buf.len().min(MAX_DATA)))?;
        let data = Bytes::copy_from_slice(buf.get(..capacity).unwrap_or_default());
        Poll::Ready(this.send(cx, data, false).map(|()| capacity))
    }

    /// The task of the connection flushes.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().send(cx, Bytes::new(), true))
    }
}

/// The I/O error of a stream that was reset.
fn reset(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
