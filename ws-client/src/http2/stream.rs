//! How does a socket's stream of HTTP/2 become a stream of bytes?

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::Link;

/// The most that is handed over at once: one frame of the size that all servers take.
const PIECE: usize = 16 * 1024;

/// One socket's part of a connection. It holds the connection, and with the last of them
/// that ends.
///
/// A stream that is reset is what a TCP connection is that is reset (RFC 8441 §5), and so is
/// the end of the connection below: the cause is kept.
pub(crate) struct Http2Stream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// What has arrived and was not read.
    chunk: Bytes,
    _link: Arc<Link>,
}

impl Http2Stream {
    pub(super) fn new(send: SendStream<Bytes>, receive: RecvStream, link: Arc<Link>) -> Self {
        Self { send, receive, chunk: Bytes::new(), _link: link }
    }

    /// How many bytes may be sent, some if any are wanted.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(wanted);
        loop {
            // It is only told of what is new.
            let room = self.send.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(reset(error))),
                None => return Poll::Ready(Err(self.cause(cx))),
            }
        }
    }

    /// Why nothing can be sent.
    fn cause(&mut self, cx: &mut Context<'_>) -> io::Error {
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
        let this = self.get_mut();
        while this.chunk.is_empty() {
            match ready!(this.receive.poll_data(cx)) {
                Some(chunk) => this.chunk = chunk.map_err(reset)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = this.chunk.len().min(buf.remaining());
        buf.put_slice(this.chunk.get(..count).unwrap_or_default());
        this.chunk.advance(count);
        // Only what is read makes room for more.
        this.receive.flow_control().release_capacity(count).map_err(reset)?;
        Poll::Ready(Ok(()))
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
        let room = ready!(this.poll_room(cx, buf.len().min(PIECE)))?;
        let piece = Bytes::copy_from_slice(buf.get(..room).unwrap_or_default());
        match this.send.send_data(piece, false) {
            Ok(()) => Poll::Ready(Ok(room)),
            Err(_) => Poll::Ready(Err(this.cause(cx))),
        }
    }

    /// The task of the connection writes what it was given.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.send.send_data(Bytes::new(), true) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(_) => Poll::Ready(Err(this.cause(cx))),
        }
    }
}

/// The error of a stream that was reset, with its cause.
fn reset(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
