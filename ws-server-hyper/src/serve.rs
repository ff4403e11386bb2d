//! How does a server accept connections, serve HTTP/1.1 and HTTP/2, and shut down?

use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::field;
use ws_core::PeerAddr;
use ws_core::handshake::head::{MAX_HEAD, MAX_HEADERS};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a client may take until its first request. Equals hyper's own timeout for each
/// head of HTTP/1.1, which starts only when the version is known.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a graceful shutdown waits for requests in progress.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

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

/// The delay before the next accept, after an error that may pass.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// How often a listener that keeps failing is logged.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

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
/// * Keepalive: a ping after 30 s without traffic (RFC 9113 §6.7). Without a pong within 30 s,
///   the connection and its streams end.
///
/// Over HTTP/1.1, the head of each request has to arrive within 30 s (hyper's default, which
/// needs the timer set here). Over both versions, the head of a request is limited as by
/// [`AcceptOptions::head_limit`](ws_core::AcceptOptions::head_limit), with the same defaults: 16 KiB
/// and 100 headers, 431 beyond. The settings are `max_buf_size` and `max_headers` of `http1()`, and
/// `max_header_list_size` of `http2()`. No timeout applies before the client has sent enough to detect
/// the HTTP version; [`serve_stream`] adds one.
#[doc(alias = "server")]
pub fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
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

/// Serves all connections of a listener, over HTTP/1.1 and HTTP/2 with prior knowledge.
///
/// Each connection is served with [`http_builder`]. `TCP_NODELAY` is set, and each request has
/// the [`PeerAddr`] among its extensions. A connection is closed if the client does not send a
/// request within 30 s; over HTTP/1.1 this also applies between requests. Over HTTP/2, a client
/// that has sent a request may stay idle as long as it answers pings.
///
/// Runs until the listener fails; [`serve_until`] shuts down gracefully.
///
/// # Errors
///
/// If the listener fails permanently. Errors that may pass, such as too many open files, are
/// retried after 100 ms.
///
/// # Cancel safety
///
/// Dropping the future stops accepting connections. Open connections finish the requests in
/// progress and then close; WebSockets stay open.
pub async fn serve<S, B>(listener: TcpListener, service: S) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    serve_until(listener, service, pending()).await
}

/// Like [`serve`], with graceful shutdown: when `signal` resolves, the server stops accepting
/// connections. `serve_until` returns when the requests in progress are finished, after at most
/// 10 s: connections with a request in progress are dropped then. Connections on which no request
/// has arrived, or only a part of the first one, are dropped at once.
///
/// An open WebSocket counts as a request in progress over HTTP/2, and does not count over HTTP/1.1.
/// To close both kinds, pass a [`ConnectionTracker`](crate::ConnectionTracker) to the options and
/// drain it as the last step of `signal`:
///
/// ```no_run
/// # use std::convert::Infallible;
/// # use std::time::Duration;
/// # use http_body_util::Full;
/// # use hyper::body::{Bytes, Incoming};
/// # use hyper::service::service_fn;
/// # use hyper::{Request, Response};
/// # use ws_server_hyper::{
/// #     AcceptOptions, ConnectionTracker, DrainConfig, accept, serve_until, shutdown_signal,
/// # };
/// # async fn example(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// let tracker = ConnectionTracker::new();
/// let options = AcceptOptions::new().tracker(&tracker);
/// # let service = service_fn(move |mut request: Request<Incoming>| {
/// #     let accepted = accept(&mut request, &options).unwrap();
/// #     let (response, _): (Response<Full<Bytes>>, _) = accepted;
/// #     async { Ok::<_, Infallible>(response) }
/// # });
/// serve_until(listener, service, async {
///     shutdown_signal().await;
///     tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
/// })
/// .await
/// # }
/// ```
///
/// During the drain, new WebSockets are rejected with 503 and other requests are still served.
///
/// # Errors
///
/// Like `serve`.
///
/// # Cancel safety
///
/// Like `serve`.
#[doc(alias = "with_graceful_shutdown")]
#[doc(alias = "graceful_shutdown")]
#[doc(alias = "serve_with_shutdown")]
pub async fn serve_until<S, B>(
    listener: TcpListener,
    service: S,
    signal: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let address = listener.local_addr().ok().map(field::display);
    tracing::info!(address, "listening");
    let served = accept_loop(move |cx| listener.poll_accept(cx), service, signal).await;
    tracing::info!(address, error = served.as_ref().err().map(field::display), "server stopped");
    served
}

/// Serves one connection over any stream, such as TLS or a Unix socket, with the timeouts of
/// [`serve`].
///
/// `peer` becomes the [`PeerAddr`] of each request. The caller sets `TCP_NODELAY`, if the
/// stream runs over TCP.
///
/// # Errors
///
/// If the peer does not speak HTTP, sends no request in time, or disconnects during a request.
///
/// # Cancel safety
///
/// Dropping the future drops the connection, except a WebSocket over HTTP/1.1, which has its
/// own stream.
#[doc(alias = "serve_connection")]
pub async fn serve_stream<S, B>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Option<SocketAddr>,
    service: S,
) -> Result<(), BoxError>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (conn, had_request) = serve_http(io, peer, service);
    with_first_request_timeout(conn, &had_request).await
}

/// Serves until the signal. `poll_accept` is [`TcpListener::poll_accept`], except in tests.
async fn accept_loop<S, B>(
    mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>>,
    service: S,
    signal: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let (phase, phases) = watch::channel(ServerPhase::Accepting);
    let mut signal = pin!(signal);
    let mut last_warning = None;
    loop {
        let accepted = poll_fn(|cx| match signal.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => poll_accept(cx).map(Some),
        });
        match accepted.await {
            None => break,
            Some(Ok((stream, peer))) => {
                // A WebSocket over HTTP/2 cannot set it later, because the server keeps the
                // stream. A failure only costs latency.
                let _ = stream.set_nodelay(true);
                let (conn, had_request) = serve_http(stream, Some(peer), service.clone());
                let (conn, phases) = (graceful.watch(conn), phases.clone());
                tokio::spawn(async move {
                    // An error of one connection concerns only its client.
                    tokio::select! {
                        _ = with_first_request_timeout(conn, &had_request) => {}
                        () = dropped_by_shutdown(phases, &had_request) => {}
                    }
                });
            }
            Some(Err(error)) => retry_accept(error, &mut last_warning).await?,
        }
    }
    tracing::info!("shutting down: no more connections are accepted");
    // Close the listener, so that clients do not wait in its backlog.
    drop(poll_accept);
    phase.send_replace(ServerPhase::ShuttingDown);
    let finished = pin!(graceful.shutdown());
    drop(phases);
    if timeout(SHUTDOWN_TIMEOUT, finished).await.is_err() {
        phase.send_replace(ServerPhase::TimedOut);
        // Their tasks hold the receivers.
        phase.closed().await;
    }
    Ok(())
}

/// How far the server is. A dropped server stays in its phase.
#[derive(Clone, Copy)]
enum ServerPhase {
    Accepting,
    /// The requests in progress have `SHUTDOWN_TIMEOUT`.
    ShuttingDown,
    TimedOut,
}

/// Waits until the graceful shutdown of the server drops a connection.
async fn dropped_by_shutdown(mut phases: watch::Receiver<ServerPhase>, had_request: &AtomicBool) {
    let is_dropped = |phase: &ServerPhase| match phase {
        ServerPhase::Accepting => false,
        ServerPhase::ShuttingDown => !had_request.load(Ordering::Relaxed),
        ServerPhase::TimedOut => true,
    };
    if phases.wait_for(is_dropped).await.is_err() {
        // The server was dropped.
        pending::<()>().await;
    }
}

/// Whether the client of a connection has sent a request.
type HadRequest = Arc<AtomicBool>;

/// The future that serves HTTP on a stream.
fn serve_http<I, S, B>(
    io: I,
    peer: Option<SocketAddr>,
    service: S,
) -> (impl GracefulConnection<Error = BoxError> + Send + use<I, S, B>, HadRequest)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let had_request = HadRequest::default();
    let set_had_request = Arc::clone(&had_request);
    let service = service_fn(move |mut request: Request<Incoming>| {
        set_had_request.store(true, Ordering::Relaxed);
        if let Some(peer) = peer {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        service.call(request)
    });
    let builder = http_builder();
    let conn = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    (conn.into_owned(), had_request)
}

/// Runs a connection to its end, or to the timeout if there was no request by then. hyper has
/// no timeout of its own while it detects the HTTP version.
async fn with_first_request_timeout(
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

/// Returns when the next accept may be tried; returns the error if the listener is unusable.
async fn retry_accept(error: io::Error, last_warning: &mut Option<Instant>) -> io::Result<()> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    match error.kind() {
        // The client disconnected before it was accepted.
        ConnectionAborted | ConnectionRefused | ConnectionReset => Ok(()),
        InvalidInput => Err(error),
        // Probably too many open files: wait until connections close.
        _ => {
            let now = Instant::now();
            if last_warning.is_none_or(|last| now - last >= WARNING_INTERVAL) {
                *last_warning = Some(now);
                tracing::warn!(%error, "connections cannot be accepted; trying again");
            }
            sleep(ACCEPT_RETRY_DELAY).await;
            Ok(())
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::convert::Infallible;
    use std::os::fd::AsFd as _;

    use http_body_util::Empty;
    use hyper::body::Bytes;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    use super::*;

    /// Over HTTP/2, the server keeps the stream, so the server has to set `TCP_NODELAY`. The
    /// accept loop first returns errors that may pass.
    #[tokio::test]
    async fn accepted_streams_have_nodelay_and_accept_errors_are_retried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (client_io, accepted) = tokio::join!(connecting, listener.accept());
        let (server_io, peer) = accepted.unwrap();
        let same_stream =
            std::net::TcpStream::from(server_io.as_fd().try_clone_to_owned().unwrap());
        assert!(!same_stream.nodelay().unwrap());

        let mut results = vec![
            Ok((server_io, peer)),
            Err(io::Error::other("too many open files")),
            Err(io::ErrorKind::ConnectionAborted.into()),
        ];
        let accept = move |_: &mut Context<'_>| results.pop().map_or(Poll::Pending, Poll::Ready);
        let service = service_fn(async |request: Request<Incoming>| {
            assert!(request.extensions().get::<PeerAddr>().is_some());
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let server = tokio::spawn(accept_loop(accept, service, pending()));
        let status = async {
            let io = TokioIo::new(client_io.unwrap());
            let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
            let (mut client, conn) = client.unwrap();
            tokio::spawn(conn);
            let request = Request::get("http://localhost/").body(Empty::<Bytes>::new());
            client.send_request(request.unwrap()).await.unwrap().status()
        };
        assert_eq!(timeout(Duration::from_secs(20), status).await.unwrap(), 200);
        assert!(same_stream.nodelay().unwrap());
        server.abort();
    }

    #[tokio::test]
    async fn a_shutdown_waits_10_s_for_a_request_in_progress() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (requested, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (requests, stopped) = (Arc::clone(&requested), Arc::clone(&stop));
        let service = service_fn(move |_: Request<Incoming>| {
            requests.notify_one();
            pending::<Result<Response<Empty<Bytes>>, Infallible>>()
        });
        let signal = async move { stopped.notified().await };
        let server = tokio::spawn(serve_until(listener, service, signal));
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        // Without a request, it would be dropped at once.
        timeout(Duration::from_secs(20), requested.notified()).await.unwrap();
        tokio::time::pause();
        let began = Instant::now();
        stop.notify_one();
        timeout(Duration::from_secs(100), server).await.unwrap().unwrap().unwrap();
        assert_eq!(began.elapsed().as_secs(), 10);
        let mut answer = Vec::new();
        // Closed, perhaps by a reset.
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }

    #[tokio::test]
    async fn a_permanent_listener_error_is_returned() {
        let accept =
            |_: &mut Context<'_>| Poll::Ready(Err(io::Error::from(io::ErrorKind::InvalidInput)));
        let service = service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let error = accept_loop(accept, service, pending()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
