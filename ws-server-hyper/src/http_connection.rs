//! How is HTTP served on one connection, with which settings and timeouts?

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;
use ws_core::PeerAddr;
use ws_core::handshake::head::{MAX_HEAD, MAX_HEADERS};

use crate::write_timeout::WriteTimeout;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a client may take until its first request. Equals hyper's own timeout for each
/// head of HTTP/1.1, which starts only when the version is known.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// HTTP/2: the flow control window of one stream, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;

/// HTTP/2: how many bytes of one stream may wait to be sent, beside those in our own buffer.
const STREAM_SEND_BUFFER: usize = 64 * 1024;

/// HTTP/2: the maximum size of a head by RFC 9113 §6.5.2, which counts 32 bytes for each header.
/// Eight more are for the pseudo-headers.
#[expect(clippy::cast_possible_truncation, reason = "the constants are small")]
const MAX_HEADER_LIST: u32 = (MAX_HEAD + 32 * (MAX_HEADERS + 8)) as u32;

/// HTTP/2: how many streams a peer may open on one connection.
const MAX_STREAMS: u32 = 256;

/// HTTP/2: the ping interval of an idle connection, and the timeout of the pong. Equals the
/// keepalive of a WebSocket.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// hyper-util's server for HTTP/1.1 and HTTP/2, configured for WebSockets.
///
/// Call `serve_connection_with_upgrades` on it. HTTP/2 settings:
///
/// * Extended CONNECT is enabled (RFC 8441 §3).
/// * A connection has at most 256 streams, with a flow control window of 64 KiB each. The
///   window of the connection is the sum, 16 MiB, so a handler that reads slowly does not stall
///   other streams. At most 64 KiB of a stream wait to be sent.
/// * Beyond the bound of [`Config`](ws_core::Config), a WebSocket holds up to 240 KiB: 64 KiB that
///   are received and not read, 64 KiB in the send buffer, three writes of 32 KiB before it, and
///   16 KiB, the buffer of the frame that was read last.
/// * h2 counts a DATA frame that is not read as 256 bytes if it is shorter, and holds up to three times
///   as much for it. Beyond 8 MiB of such frames on one connection, so at 24 MiB of memory, h2 takes the
///   client for hostile, and the connection ends with all of its WebSockets: ten with full windows of
///   20-byte messages are not read, for example. hyper has no setting for this.
/// * A longer frame gives back what it has beyond 256 bytes, on any stream. So a client that also sends
///   long frames to a WebSocket that is read can go further: up to 65,536 frames of one byte, or 48 MiB,
///   wait for each WebSocket that is not read. A smaller `initial_stream_window_size` of `http2()`, or
///   `max_concurrent_streams`, lowers that.
/// * Keepalive: a ping after 30 s without traffic (RFC 9113 §6.7). Without a pong within 30 s,
///   the connection and its streams end.
///
/// Over HTTP/1.1, the head of each request has to arrive within 30 s (hyper's default, which needs
/// the timer set here). Over both versions, the head of a request has the default limits of
/// [`AcceptOptions::head_limit`](ws_core::AcceptOptions::head_limit): 16 KiB and 100 headers. A
/// larger head is rejected with 431. The settings are `max_buf_size` and `max_headers` of
/// `http1()`, and `max_header_list_size` of `http2()`. No timeout applies before the client has
/// sent enough to detect the HTTP version; [`serve_stream`](crate::serve_stream) adds one.
#[doc(alias = "server")]
pub fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `MAX_HEADERS` is hyper's own limit. Set, it costs 4,500 instructions for each request.
    builder.http1().timer(TokioTimer::new()).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .enable_connect_protocol()
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(STREAM_SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * MAX_STREAMS);
    builder
}

/// The builders of our servers. Each connection refers to them.
static BUILDER: LazyLock<auto::Builder<TokioExecutor>> = LazyLock::new(http_builder);
static HTTP1_BUILDER: LazyLock<http1::Builder> = LazyLock::new(|| {
    let mut builder = http1::Builder::new();
    // As in `http_builder`.
    builder.timer(TokioTimer::new()).max_buf_size(MAX_HEAD);
    builder
});

/// What a client sends first over HTTP/2 (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether the client of a connection has sent a request.
pub(crate) type HadRequest = Arc<AtomicBool>;

/// Serves HTTP on a TCP stream that was just accepted, to its end or until the graceful shutdown.
///
/// What has arrived is looked at first. hyper-util takes the first bytes out to find the version, and
/// hyper then parses a head of HTTP/1.1 twice and searches it for its end, byte by byte: 6,000
/// instructions for the request of a browser.
pub(crate) async fn serve_tcp<S, B>(
    stream: TcpStream,
    peer: SocketAddr,
    service: S,
    had_request: &HadRequest,
    shutdown: impl Future<Output = ()>,
) -> Result<(), BoxError>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let mut shutdown = pin!(shutdown);
    let is_http1 = tokio::select! {
        biased;
        is_http1 = speaks_http1(&stream) => is_http1,
        () = shutdown.as_mut() => return Ok(()),
    };
    let (io, service) = prepare(stream, Some(peer), service, had_request);
    if is_http1 {
        let conn = HTTP1_BUILDER.serve_connection(io, service).with_upgrades();
        return Ok(until_shutdown(conn, shutdown, |conn| conn.graceful_shutdown()).await?);
    }
    let conn = BUILDER.serve_connection_with_upgrades(io, service);
    until_shutdown(conn, shutdown, |conn| conn.graceful_shutdown()).await
}

/// Runs a connection to its end, or from `shutdown` on to the end of the requests in progress.
fn until_shutdown<C: Future>(
    conn: C,
    shutdown: impl Future<Output = ()>,
    begin: impl FnOnce(Pin<&mut C>),
) -> impl Future<Output = C::Output> {
    // Boxed: it takes kilobytes, and would be moved several times.
    let mut conn = Box::pin(conn);
    async move {
        tokio::select! {
            biased;
            ended = conn.as_mut() => return ended,
            () = shutdown => begin(conn.as_mut()),
        }
        conn.await
    }
}

/// Whether the first bytes of a client are not those of HTTP/2. If they do not tell, it is false.
async fn speaks_http1(stream: &TcpStream) -> bool {
    let mut start = [0; HTTP2_PREFACE.len()];
    match stream.peek(&mut start).await {
        Ok(len @ 1..) => start.get(..len).is_some_and(|start| !HTTP2_PREFACE.starts_with(start)),
        Ok(0) | Err(_) => false,
    }
}

/// The future that serves HTTP on a stream.
pub(crate) fn serve_http<I, S, B>(
    io: I,
    peer: Option<SocketAddr>,
    service: S,
) -> (impl Future<Output = Result<(), BoxError>> + Send + use<I, S, B>, HadRequest)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let had_request = HadRequest::default();
    let (io, service) = prepare(io, peer, service, &had_request);
    (BUILDER.serve_connection_with_upgrades(io, service), had_request)
}

/// The stream as hyper reads it, and the service with what our servers add.
fn prepare<I, S, B>(
    io: I,
    peer: Option<SocketAddr>,
    service: S,
    had_request: &HadRequest,
) -> (
    TokioIo<WriteTimeout<I>>,
    impl Service<Request<Incoming>, Response = Response<B>, Error = S::Error, Future: Send + 'static>
    + Send
    + 'static
    + use<I, S, B>,
)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Send + 'static,
    S::Future: Send,
    B: Body + 'static,
{
    let had_request = Arc::clone(had_request);
    let is_upgraded = Arc::<AtomicBool>::default();
    let io = WriteTimeout::new(io, Arc::clone(&is_upgraded));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let is_first = !had_request.swap(true, Ordering::Relaxed);
        // hyper handles up to 16 requests of HTTP/1.1 that a client has pipelined in one poll.
        let takes_turns = !is_first && request.version() != Version::HTTP_2;
        if let Some(peer) = peer {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        own_target(&mut request);
        let responding = service.call(request);
        let is_upgraded = Arc::clone(&is_upgraded);
        async move {
            if takes_turns {
                yield_now().await;
            }
            let response = responding.await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                is_upgraded.store(true, Ordering::Relaxed);
            }
            Ok::<_, S::Error>(response)
        }
    });
    (TokioIo::new(io), service)
}

/// Copies the target of a request over HTTP/1.1. Frameworks keep clones of it in the extensions, as
/// `OriginalUri` of axum is one, and hyper's is a slice of the read buffer, which is several times as
/// large.
fn own_target(request: &mut Request<Incoming>) {
    // `/` is no slice.
    if request.version() != Version::HTTP_2 && request.uri() != "/" {
        let text = request.uri().to_string();
        if let Ok(copy) = Uri::from_maybe_shared(Bytes::from(text)) {
            *request.uri_mut() = copy;
        }
    }
}

/// Runs a connection to its end, or to the timeout if there was no request by then. hyper has
/// no timeout of its own while it detects the HTTP version.
pub(crate) async fn with_first_request_timeout(
    conn: impl Future<Output = Result<(), BoxError>>,
    had_request: &AtomicBool,
) -> Result<(), BoxError> {
    let mut conn = pin!(conn);
    match timeout(FIRST_REQUEST_TIMEOUT, conn.as_mut()).await {
        Ok(ended) => ended,
        Err(_) if had_request.load(Ordering::Relaxed) => conn.await,
        Err(elapsed) => Err(elapsed.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn connections_take_turns_with_the_requests_that_they_have_pipelined() {
        let order = Arc::<Mutex<String>>::default();
        let mut clients = Vec::new();
        for name in ['a', 'b'] {
            let (mut client, server) = tokio::io::duplex(64 * 1024);
            let requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
            client.write_all(&requests).await.unwrap();
            clients.push(client);
            let order = Arc::clone(&order);
            let service = service_fn(move |_| {
                let order = Arc::clone(&order);
                async move {
                    order.lock().unwrap().push(name);
                    Ok::<_, Infallible>(Response::new(String::new()))
                }
            });
            tokio::spawn(serve_http(server, None, service).0);
        }
        while order.lock().unwrap().len() < 40 {
            yield_now().await;
        }
        let order = order.lock().unwrap();
        let is_turn = |turn: &[u8]| matches!(turn, b"ab" | b"ba");
        assert!(order.as_bytes().chunks(2).all(is_turn), "{order}");
    }
}
