//! What does a WebSocket want of HTTP/2?

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes a peer may send on one stream before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;

/// How many streams a peer may have open.
const STREAMS: u32 = 256;

/// hyper-util's server for HTTP/1.1 and HTTP/2, with settings for WebSockets.
///
/// Over HTTP/2, extended CONNECT is allowed (RFC 8441 §3), and the window of the
/// connection is as wide as those of all its streams together, 256 times 64 KiB: what a
/// slow handler leaves unread on one stream never stalls the others. To be used with
/// `serve_connection_with_upgrades`.
pub fn server() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http2()
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * STREAMS);
    server
}

/// A stream of HTTP/2 that carries a WebSocket.
///
/// To a connection, a stream that is reset is what a TCP connection is that is reset
/// (RFC 8441 §5): it ends with 1006, and the cause is kept.
pub(crate) struct Http2Stream(TokioIo<Upgraded>);

impl Http2Stream {
    pub(crate) fn new(upgraded: Upgraded) -> Self {
        Self(TokioIo::new(upgraded))
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf)).map_err(reset)?;
        if buf.filled().len() == before && buf.remaining() > 0 {
            // hyper calls it an end when a stream is cancelled, and tells only those who
            // write that it was not a polite one.
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.0).poll_flush(cx) {
                return Poll::Ready(Err(reset(error)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf).map_err(reset)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(reset)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx).map_err(reset)
    }
}

/// The error of a stream that was reset, with its cause.
fn reset(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other => io::Error::new(io::ErrorKind::ConnectionReset, error),
        _ => error,
    }
}
