//! When is a connection dropped whose client does not read its responses?

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client may take nothing of a response. Equals the write timeout of a WebSocket.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A stream whose writes fail if the peer takes nothing for [`WRITE_TIMEOUT`], until it is
/// upgraded to a WebSocket, which has a timeout of its own.
pub(crate) struct WriteTimeout<I> {
    io: I,
    /// Whether the last response is a 101.
    is_upgraded: Arc<AtomicBool>,
    limit: WriteLimit,
}

enum WriteLimit {
    Idle,
    /// A write waits.
    Waiting(Pin<Box<Sleep>>),
    /// The 101 is written.
    Removed,
}

impl<I> WriteTimeout<I> {
    pub(crate) const fn new(io: I, is_upgraded: Arc<AtomicBool>) -> Self {
        Self { io, is_upgraded, limit: WriteLimit::Idle }
    }

    pub(crate) fn into_inner(self) -> I {
        self.io
    }

    /// The result of a write, unless it has waited for too long.
    fn limit<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match (&mut self.limit, &written) {
            (WriteLimit::Removed, _) => written,
            (limit, Poll::Ready(_)) => {
                *limit = WriteLimit::Idle;
                written
            }
            (WriteLimit::Waiting(timer), Poll::Pending) => {
                timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            (limit @ WriteLimit::Idle, Poll::Pending) => {
                *limit = WriteLimit::Waiting(Box::pin(sleep(WRITE_TIMEOUT)));
                self.limit(written, cx)
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for WriteTimeout<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.limit(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.limit(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        let flushed = self.limit(flushed, cx);
        // hyper flushes once it has written all responses.
        if flushed.is_ready() && self.is_upgraded.load(Ordering::Relaxed) {
            self.limit = WriteLimit::Removed;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.io).poll_shutdown(cx);
        self.limit(shut_down, cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::{Bytes, Incoming};
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, timeout};
    use ws_core::{AcceptOptions, Config};

    use super::*;
    use crate::serve_stream;

    const RESPONSE: usize = 200 * 1024;
    const LIMIT: Duration = Duration::from_secs(3600);

    const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    async fn large(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(Response::new(Full::new(Bytes::from(vec![0; RESPONSE]))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_a_response_is_dropped_after_60_s() {
        let (mut client, server) = duplex(64 * 1024);
        let serving = tokio::spawn(serve_stream(server, None, service_fn(large)));
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let began = Instant::now();
        assert!(timeout(LIMIT, serving).await.unwrap().unwrap().is_err());
        assert_eq!(began.elapsed(), WRITE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gets_its_response() {
        let (mut client, server) = duplex(64 * 1024);
        let serving = tokio::spawn(serve_stream(server, None, service_fn(large)));
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let (mut buf, mut total) = ([0; 16 * 1024], 0);
        loop {
            sleep(Duration::from_secs(59)).await; // tidy: sleep is the subject
            match client.read(&mut buf).await.unwrap() {
                0 => break,
                bytes => total += bytes,
            }
        }
        assert!(total > RESPONSE);
        timeout(LIMIT, serving).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_the_response_of_an_upgrade_is_dropped_after_60_s() {
        // Less than the response.
        let (mut client, server) = duplex(64);
        let service = service_fn(async |mut request: Request<Incoming>| {
            let (response, upgrade) = crate::accept(&mut request, &AcceptOptions::new()).unwrap();
            tokio::spawn(upgrade.serve(async |conn| conn.read().await.map(drop)));
            Ok::<Response<Full<Bytes>>, Infallible>(response)
        });
        let serving = tokio::spawn(serve_stream(server, None, service));
        client.write_all(UPGRADE.as_bytes()).await.unwrap();
        let began = Instant::now();
        assert!(timeout(LIMIT, serving).await.unwrap().unwrap().is_err());
        assert_eq!(began.elapsed(), WRITE_TIMEOUT);
    }

    /// On a stream that is not unwrapped.
    #[tokio::test(start_paused = true)]
    async fn a_websocket_has_only_its_own_write_timeout() {
        let (mut client, server) = duplex(64 * 1024);
        let service = service_fn(async |mut request: Request<Incoming>| {
            let config = Config::new().no_keepalive().write_timeout(LIMIT);
            let options = AcceptOptions::new().config(config);
            let (response, upgrade) = crate::accept(&mut request, &options).unwrap();
            tokio::spawn(upgrade.serve(async |conn| {
                conn.write(vec![0; RESPONSE]).await?;
                conn.read().await.map(drop)
            }));
            Ok::<Response<Full<Bytes>>, Infallible>(response)
        });
        tokio::spawn(serve_stream(server, None, service));
        client.write_all(UPGRADE.as_bytes()).await.unwrap();
        sleep(10 * WRITE_TIMEOUT).await; // tidy: sleep is the subject
        let mut received = vec![0; RESPONSE];
        timeout(LIMIT, client.read_exact(&mut received)).await.unwrap().unwrap();
    }
}
