//! How is a service served so that WebSockets work over HTTP/2, too?

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use ws_core::PeerAddr;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves every connection of a listener by [`server`](crate::server), for ever: over HTTP/1.1,
/// and HTTP/2 with prior knowledge.
///
/// It sets `TCP_NODELAY`, which a WebSocket over HTTP/2 cannot, and puts a [`PeerAddr`] among
/// the extensions of each request.
///
/// # Errors
///
/// When the listener fails for good.
///
/// # Cancel safety
///
/// Dropping the future takes no more connections; those that are there go on.
pub async fn serve<S, B>(listener: TcpListener, service: S) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    serve_until(listener, service, pending()).await
}

/// As [`serve`], until a signal is given. Requests that are under way are then answered;
/// connections that were upgraded are a [`Tracker`](crate::Tracker)'s.
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
    let (server, graceful) = (crate::server(), GracefulShutdown::new());
    let mut signal = pin!(signal);
    loop {
        let accepted = poll_fn(|cx| match signal.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => listener.poll_accept(cx).map(Some),
        });
        match accepted.await {
            None => break,
            Some(Ok((stream, peer))) => {
                // Over HTTP/2, nobody takes the stream over who would say so. One that
                // refuses works all the same.
                let _ = stream.set_nodelay(true);
                let service = service.clone();
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(PeerAddr(peer));
                    service.call(request)
                });
                let conn = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
                let conn = graceful.watch(conn.into_owned());
                // What goes wrong there is told to nobody else.
                tokio::spawn(async { drop(conn.await) });
            }
            Some(Err(error)) => endure(error).await?,
        }
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
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
