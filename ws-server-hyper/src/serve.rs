//! How is a listener or a stream served over HTTP/1.1 and HTTP/2?

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tracing::field;

use crate::accept_loop::accept_loop;
use crate::http_connection::{BoxError, serve_http, with_first_request_timeout};

/// Serves all connections of a listener, over HTTP/1.1 and HTTP/2 with prior knowledge.
///
/// Each connection is served with [`http_builder`](crate::http_builder). `TCP_NODELAY` is set, and
/// each request has the [`PeerAddr`](ws_core::PeerAddr) among its extensions. A connection is closed
/// if the client does not send a request within 30 s; over HTTP/1.1 this also applies between
/// requests. Over HTTP/2, a client that has sent a request may stay idle as long as it answers pings.
/// A connection is also closed if the client takes nothing of a response for 60 s; over HTTP/2, unless it
/// reads the connection and answers pings, but opens no window for the response.
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
/// `peer` becomes the [`PeerAddr`](ws_core::PeerAddr) of each request. The caller sets
/// `TCP_NODELAY`, if the stream runs over TCP.
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::time::Duration;

    use http_body_util::Empty;
    use hyper::body::Bytes;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;
    use tokio::time::{Instant, timeout};

    use super::*;

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
}
