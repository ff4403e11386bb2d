//! How is a service served so that WebSockets work over HTTP/2, too?

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
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use ws_core::PeerAddr;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a client may take to ask for something. hyper counts as long for each head of
/// HTTP/1.1, once it knows that this is spoken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves every connection of a listener by [`server`](crate::server), for ever: over HTTP/1.1,
/// and HTTP/2 with prior knowledge.
///
/// It sets `TCP_NODELAY`, which a WebSocket over HTTP/2 cannot, and puts a [`PeerAddr`] among
/// the extensions of each request. A client that does not ask for anything in 30 s is let go;
/// over HTTP/1.1, also after an answer. Over HTTP/2 one that has asked may stay for as long as
/// it answers pings (see [`server`](crate::server)).
///
/// # Errors
///
/// When the listener fails for good.
///
/// # Cancel safety
///
/// Dropping the future takes no more connections. Those that are there end when the requests
/// that are under way have been answered; those that were upgraded go on.
pub async fn serve<S, B>(listener: TcpListener, service: S) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    serve_until(listener, service, pending()).await
}

/// As [`serve`], until a signal is given. It then takes no more connections, and waits until
/// the requests that are under way have been answered.
///
/// A WebSocket over HTTP/2 is a request that is under way for as long as it is open; one over
/// HTTP/1.1 is waited for by nobody. So give the options a [`ConnectionTracker`](crate::ConnectionTracker), and
/// drain it as the last part of the signal, which serves both:
///
/// ```no_run
/// # use std::convert::Infallible;
/// # use std::time::Duration;
/// # use http_body_util::Full;
/// # use hyper::body::{Bytes, Incoming};
/// # use hyper::service::service_fn;
/// # use hyper::{Request, Response};
/// # use ws_server_hyper::{AcceptOptions, DrainConfig, ConnectionTracker, accept, serve_until};
/// # async fn example(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// let tracker = ConnectionTracker::new();
/// let options = AcceptOptions::new().tracker(&tracker);
/// # let service = service_fn(move |mut request: Request<Incoming>| {
/// #     let accepted = accept(&mut request, &options).unwrap();
/// #     let (response, _): (Response<Full<Bytes>>, _) = accepted;
/// #     async { Ok::<_, Infallible>(response) }
/// # });
/// serve_until(listener, service, async {
///     let _ = tokio::signal::ctrl_c().await;
///     tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
/// })
/// .await
/// # }
/// ```
///
/// While it drains, new WebSockets are refused with 503, and other requests still served.
///
/// # Errors
///
/// As `serve`.
///
/// # Cancel safety
///
/// As `serve`.
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
    accept_until(move |cx| listener.poll_accept(cx), service, signal).await
}

/// Serves one connection over any stream, such as one of TLS, as [`serve`] does. Of a stream
/// of TCP, `TCP_NODELAY` is yours to set, and the address of the peer yours to tell.
///
/// # Errors
///
/// When the peer speaks no HTTP, or asks for nothing, or is gone in the middle of it.
///
/// # Cancel safety
///
/// Dropping the future drops the connection, unless it was upgraded over HTTP/1.1.
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
    let (conn, asked) = begin(io, peer, service);
    patiently(conn, &asked).await
}

/// Where connections come from.
trait Accept: FnMut(&mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {}

impl<F> Accept for F where F: FnMut(&mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {}

async fn accept_until<S, B>(
    mut accept: impl Accept,
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
    let mut signal = pin!(signal);
    loop {
        let accepted = poll_fn(|cx| match signal.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => accept(cx).map(Some),
        });
        match accepted.await {
            None => break,
            Some(Ok((stream, peer))) => {
                // Over HTTP/2, nobody takes the stream over who would say so. One that
                // refuses works all the same.
                let _ = stream.set_nodelay(true);
                let (conn, asked) = begin(stream, Some(peer), service.clone());
                let conn = graceful.watch(conn);
                // What goes wrong there is told to nobody else.
                tokio::spawn(async move { drop(patiently(conn, &asked).await) });
            }
            Some(Err(error)) => endure(error).await?,
        }
    }
    // Nobody is to wait there any more.
    drop(accept);
    graceful.shutdown().await;
    Ok(())
}

/// Has the client asked for anything?
type Asked = Arc<AtomicBool>;

/// Begins to serve a stream.
fn begin<I, S, B>(
    io: I,
    peer: Option<SocketAddr>,
    service: S,
) -> (impl GracefulConnection<Error = BoxError> + Send + use<I, S, B>, Asked)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let asked = Asked::default();
    let asks = Arc::clone(&asked);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        if let Some(peer) = peer {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        service.call(request)
    });
    let server = crate::server();
    let conn = server.serve_connection_with_upgrades(TokioIo::new(io), service);
    (conn.into_owned(), asked)
}

/// Runs a connection to its end, but lets go of a client that does not ask for anything: to
/// tell which version is spoken, hyper waits for ever.
async fn patiently(
    conn: impl Future<Output = Result<(), BoxError>>,
    asked: &AtomicBool,
) -> Result<(), BoxError> {
    let mut conn = pin!(conn);
    match timeout(PATIENCE, conn.as_mut()).await {
        Ok(ended) => ended,
        Err(_) if asked.load(Ordering::Relaxed) => conn.await,
        Err(passed) => Err(passed.into()),
    }
}

/// Waits out what passes; gives back what does not.
async fn endure(error: io::Error) -> io::Result<()> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    match error.kind() {
        // A client that was gone before it was let in.
        ConnectionAborted | ConnectionRefused | ConnectionReset => Ok(()),
        InvalidInput => Err(error),
        // Out of file descriptors, say: those that are here go on.
        _ => {
            tokio::time::sleep(Duration::from_millis(100)).await;
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

    use super::*;

    /// An answer over HTTP/2, which leaves the stream with the server, comes over a stream
    /// that does not delay, whatever the listener had to say before.
    #[tokio::test]
    async fn streams_are_told_not_to_delay_and_errors_are_waited_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap());
        let (here, accepted) = tokio::join!(dialled, listener.accept());
        let (there, peer) = accepted.unwrap();
        let same = std::net::TcpStream::from(there.as_fd().try_clone_to_owned().unwrap());
        assert!(!same.nodelay().unwrap());

        let mut to_come = vec![
            Ok((there, peer)),
            Err(io::Error::other("too many open files")),
            Err(io::ErrorKind::ConnectionAborted.into()),
        ];
        let accept = move |_: &mut Context<'_>| to_come.pop().map_or(Poll::Pending, Poll::Ready);
        let service = service_fn(async |request: Request<Incoming>| {
            assert!(request.extensions().get::<PeerAddr>().is_some());
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let server = tokio::spawn(accept_until(accept, service, pending()));
        let answer = async {
            let io = TokioIo::new(here.unwrap());
            let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
            let (mut client, conn) = client.unwrap();
            tokio::spawn(conn);
            let request = Request::get("http://localhost/").body(Empty::<Bytes>::new());
            client.send_request(request.unwrap()).await.unwrap().status()
        };
        assert_eq!(timeout(Duration::from_secs(20), answer).await.unwrap(), 200);
        assert!(same.nodelay().unwrap());
        server.abort();
    }

    #[tokio::test]
    async fn a_listener_that_fails_for_good_says_so() {
        let accept =
            |_: &mut Context<'_>| Poll::Ready(Err(io::Error::from(io::ErrorKind::InvalidInput)));
        let service = service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let error = accept_until(accept, service, pending()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
