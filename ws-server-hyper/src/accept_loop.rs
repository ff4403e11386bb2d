//! How does a server accept connections, retry after accept errors, and shut down?

use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::http_connection::{BoxError, HadRequest, serve_tcp, with_first_request_timeout};

/// How long a graceful shutdown waits for requests in progress.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The delay before the next accept, after an error that may pass.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// How often a listener that keeps failing is logged.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Serves until the signal. `poll_accept` is [`TcpListener::poll_accept`], except in tests.
pub(crate) async fn accept_loop<S, B>(
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
                let service = service.clone();
                let (had_request, phases) = (HadRequest::default(), phases.clone());
                let shutdown = shutdown_begun(phases.clone());
                // Boxed: the stream keeps the last waker that has waited for it, and with it the
                // memory of the task, as long as a WebSocket does not read.
                tokio::spawn(Box::pin(async move {
                    let conn = serve_tcp(stream, peer, service, &had_request, shutdown);
                    // An error of one connection concerns only its client. The connection is first:
                    // a request that has arrived with the shutdown is served.
                    tokio::select! {
                        biased;
                        _ = with_first_request_timeout(conn, &had_request) => {}
                        () = dropped_by_shutdown(phases, &had_request) => {}
                    }
                }));
            }
            Some(Err(error)) => retry_accept(error, &mut last_warning).await?,
        }
    }
    tracing::info!("shutting down: no more connections are accepted");
    // Close the listener, so that clients do not wait in its backlog.
    drop(poll_accept);
    phase.send_replace(ServerPhase::ShuttingDown);
    drop(phases);
    // The tasks of the connections hold the receivers.
    if timeout(SHUTDOWN_TIMEOUT, phase.closed()).await.is_err() {
        phase.send_replace(ServerPhase::TimedOut);
        phase.closed().await;
    }
    Ok(())
}

/// The phase of the server. A dropped server stays in its phase.
#[derive(Clone, Copy)]
enum ServerPhase {
    Accepting,
    /// The requests in progress have `SHUTDOWN_TIMEOUT`.
    ShuttingDown,
    TimedOut,
}

/// Waits until the server shuts down, or is dropped.
async fn shutdown_begun(mut phases: watch::Receiver<ServerPhase>) {
    let _ = phases.wait_for(|phase| !matches!(phase, ServerPhase::Accepting)).await;
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
    use std::future::pending;
    use std::os::fd::AsFd as _;

    use http_body_util::Empty;
    use hyper::body::Bytes;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::yield_now;
    use ws_core::PeerAddr;

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

    /// Only the first bytes that are in the socket tell the version.
    #[tokio::test]
    async fn a_request_is_answered_however_its_first_bytes_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let service = service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        tokio::spawn(accept_loop(move |cx| listener.poll_accept(cx), service, pending()));
        let rest = " / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        for first in [&["GET"][..], &["G", "ET"], &["P", "OST"], &["PR", "OPFIND"], &["", "PUT"]] {
            let mut client = TcpStream::connect(addr).await.unwrap();
            for piece in first {
                client.write_all(piece.as_bytes()).await.unwrap();
                // The server handles what has arrived.
                for _ in 0..200 {
                    yield_now().await;
                }
            }
            client.write_all(rest.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let answered = client.read_to_string(&mut answer);
            timeout(Duration::from_secs(20), answered).await.unwrap().unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{first:?}: {answer}");
        }
    }

    #[tokio::test]
    async fn http2_is_spoken_however_its_preface_arrives() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let service = service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        tokio::spawn(accept_loop(move |cx| listener.poll_accept(cx), service, pending()));
        // The preface, and SETTINGS without a setting (RFC 9113 §3.4).
        let start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        for split in [0, 1, 3, 14, 23, 24] {
            let mut client = TcpStream::connect(addr).await.unwrap();
            client.write_all(&start[..split]).await.unwrap();
            // The server handles what has arrived.
            for _ in 0..200 {
                yield_now().await;
            }
            client.write_all(&start[split..]).await.unwrap();
            let mut frame = [0; 9];
            let answered = client.read_exact(&mut frame);
            timeout(Duration::from_secs(20), answered).await.unwrap().unwrap();
            assert_eq!(frame[3], 4, "{split}: no SETTINGS, but {frame:?}");
        }
    }

    /// As the future of `serve`, dropped.
    #[tokio::test]
    async fn a_connection_without_a_request_ends_when_the_server_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let service = service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let (accepted, mut has_accepted) = watch::channel(());
        let accept = move |cx: &mut Context<'_>| {
            let polled = listener.poll_accept(cx);
            if polled.is_ready() {
                accepted.send_replace(());
            }
            polled
        };
        let server = tokio::spawn(accept_loop(accept, service, pending()));
        let mut client = TcpStream::connect(addr).await.unwrap();
        has_accepted.changed().await.unwrap();
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        let read = timeout(Duration::from_secs(20), client.read(&mut [0; 1])).await;
        assert!(matches!(read.unwrap(), Ok(0) | Err(_)));
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
