//! How does a transport behave whose peer never stops sending?

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A transport that always has something to read, and takes all that is written.
pub(crate) struct Flood {
    first: Vec<u8>,
    then: Vec<u8>,
}

impl Flood {
    /// It has these bytes once, and then those without end.
    pub(crate) fn new(first: Vec<u8>, then: Vec<u8>) -> Self {
        Self { first, then }
    }
}

impl AsyncRead for Flood {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            // More would only make the test slow.
            buf.put_slice(&self.then.repeat(100.min(buf.remaining() / self.then.len())));
        } else {
            buf.put_slice(&std::mem::take(&mut self.first));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
