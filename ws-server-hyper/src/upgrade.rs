//! How does hyper's upgraded stream become a `Conn`, within the handshake timeout?

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Uri, Version};
use hyper::body::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::field;
use ws_core::adapter::{KeptRequest, report_handshake, server_conn, server_conn_with};
use ws_core::handler::{ConnectionGuard, HandlerOutput};
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Error, Escaped, RequestInfo, Role};

use crate::http2_stream::Http2Stream;
use crate::write_timeout::WriteTimeout;

/// A future that resolves to a [`Conn`] after hyper has sent the response. Returned by
/// [`accept`](crate::accept).
///
/// [`serve`](Self::serve) runs a handler with the connection; awaiting the `Upgrade` returns
/// the [`Conn`].
///
/// # Errors
///
/// [`Error::Io`] if the client disconnects before the response is sent, or if hyper does not hand
/// over the transport within
/// [`AcceptOptions::handshake_timeout`](ws_core::AcceptOptions::handshake_timeout), which starts
/// when the adapter receives the request. If the `Upgrade` is awaited, also when the timeout of a
/// [drain](ws_core::handler::ConnectionTracker::drain) passes first.
///
/// # Cancel safety
///
/// Dropping it drops the connection.
#[doc(alias = "on_upgrade")]
#[must_use = "there is no connection until it is served or awaited"]
pub struct Upgrade(Box<PendingUpgrade>);

/// What an [`Upgrade`] waits for, and what the connection is made of.
pub(crate) struct PendingUpgrade {
    pub(crate) on_upgrade: OnUpgrade,
    pub(crate) version: Version,
    pub(crate) received_at: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) sleep: Option<Pin<Box<Sleep>>>,
    /// Waits for the timeout of a drain.
    pub(crate) aborted: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    pub(crate) negotiated: Negotiated,
    pub(crate) peer_addr: Option<SocketAddr>,
    pub(crate) admitted: Option<ConnectionGuard>,
    pub(crate) config: Arc<Config>,
    pub(crate) request: Option<PendingRequest>,
}

/// The request that the connection will keep.
pub(crate) enum PendingRequest {
    Kept(KeptRequest),
    /// Somebody changes it.
    Changing(Box<RequestInfo>),
}

impl PendingRequest {
    /// Copies a target and headers.
    pub(crate) fn copied(uri: &Uri, headers: &HeaderMap, rest: RequestInfo) -> Self {
        Self::Kept(KeptRequest::of(uri, headers, rest))
    }

    /// Clones a target and headers, for a request that is about to change.
    pub(crate) fn cloned(uri: &Uri, headers: &HeaderMap, mut rest: RequestInfo) -> Self {
        (rest.uri, rest.headers) = (uri.clone(), headers.clone());
        Self::Changing(Box::new(rest))
    }

    fn info_mut(&mut self) -> &mut RequestInfo {
        match self {
            Self::Changing(info) => info,
            Self::Kept(kept) => {
                *self = Self::Changing(Box::new(kept.get()));
                self.info_mut()
            }
        }
    }
}

impl Upgrade {
    pub(crate) fn new(pending: PendingUpgrade) -> Self {
        Self(Box::new(pending))
    }

    /// The subprotocol and the extensions that the handshake negotiated.
    pub fn negotiated(&self) -> &Negotiated {
        &self.0.negotiated
    }

    /// The request that becomes [`Conn::request`], to add parameters or extensions. `None` if
    /// [`AcceptOptions::keep_request`](ws_core::AcceptOptions::keep_request) is off.
    pub fn request_mut(&mut self) -> Option<&mut RequestInfo> {
        self.0.request.as_mut().map(PendingRequest::info_mut)
    }

    /// Whether the handshake timeout has passed, so that the upgrade will fail.
    ///
    /// For adapters that send the response some time after `accept`: send
    /// [`Rejection::Timeout`](ws_core::Rejection::Timeout) instead.
    pub fn is_expired(&self) -> bool {
        self.0.deadline.is_some_and(|deadline| deadline < Instant::now())
    }

    /// Waits for the connection, and runs a handler with it like [`ConnectionGuard::run`]. The
    /// connection closes with 1000 when the handler returns, and with 1011 when it returns an
    /// error or panics.
    ///
    /// Spawn it: the service has to return the response first.
    ///
    /// ```no_run
    /// # fn example(upgrade: ws_server_hyper::Upgrade) {
    /// tokio::spawn(upgrade.serve(async |conn| {
    ///     let message = conn.read().await?;
    ///     conn.write(message).await
    /// }));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no connection, see [`Upgrade`]. An error of the handler is not returned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler and its connection.
    pub fn serve<F, Fut>(self, handler: F) -> impl Future<Output = Result<(), Error>> + use<F, Fut>
    where
        F: FnOnce(Conn) -> Fut,
        Fut: Future<Output: HandlerOutput>,
    {
        // Boxed: freed before the handler runs.
        let connecting = Box::pin(self.connect(|ended| ended));
        ConnectionGuard::connect_and_run(connecting, handler, || Ok(()))
    }

    /// [`serve`](Self::serve), with a callback for the error. For adapters that spawn it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler and its connection.
    pub fn serve_or<F, Fut>(
        self,
        handler: F,
        on_failed: impl FnOnce(Error),
    ) -> impl Future<Output = ()>
    where
        F: FnOnce(Conn) -> Fut,
        Fut: Future<Output: HandlerOutput>,
    {
        // Boxed: freed before the handler runs.
        let connecting = Box::pin(self.connect(|ended| ended.unwrap_or_else(on_failed)));
        ConnectionGuard::connect_and_run(connecting, handler, || ())
    }

    /// Waits for the connection. If there is none, returns what `ended` makes of the error, or of the
    /// shutdown of the server.
    async fn connect<T>(
        mut self,
        ended: impl FnOnce(Result<(), Error>) -> T,
    ) -> Result<(Conn, ConnectionGuard), T> {
        let Some(admitted) = self.0.admitted.take() else { return Err(ended(Ok(()))) };
        match admitted.wait(&mut self).await {
            Some(Ok(conn)) => Ok((conn, admitted)),
            Some(Err(error)) => Err(ended(Err(error))),
            None => Err(ended(Ok(()))),
        }
    }
}

impl Future for Upgrade {
    type Output = Result<Conn, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let pending = &mut *self.0;
        let upgraded = match Pin::new(&mut pending.on_upgrade).poll(cx) {
            Poll::Ready(upgraded) => upgraded.map_err(|error| {
                log_failed(pending, error.is_user(), &error);
                io::Error::other(error)
            }),
            Poll::Pending if poll_aborted(pending, cx).is_ready() => {
                let message = "the timeout of the drain has passed";
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, message))
            }
            Poll::Pending => {
                ready!(poll_deadline(pending.deadline, &mut pending.sleep, cx));
                let message = "no transport within `AcceptOptions::handshake_timeout`";
                let error = io::Error::new(io::ErrorKind::TimedOut, message);
                log_failed(pending, true, &error);
                Err(error)
            }
        };
        let upgraded = upgraded.map_err(|error| Error::Io(Arc::new(error)))?;
        let negotiated = std::mem::take(&mut pending.negotiated);
        let conn = into_conn(upgraded, negotiated, pending);
        report_handshake(Role::Server, pending.received_at);
        if let Some(admitted) = pending.admitted.take() {
            admitted.release(&conn);
        }
        Poll::Ready(Ok(conn))
    }
}

/// Logs that there is no transport after the response: as a warning if the server is the cause.
fn log_failed(pending: &mut PendingUpgrade, by_server: bool, error: &dyn std::error::Error) {
    let request = pending.request.as_mut().map(PendingRequest::info_mut);
    let path = request.map(|request| field::display(Escaped::new(request.uri.path())));
    let peer = pending.peer_addr.map(field::display);
    let error = error.to_string();
    let error = Escaped::new(&error);
    if by_server {
        tracing::warn!(
            path,
            peer,
            %error,
            "no transport for an accepted WebSocket: serve with upgrades, and return the response"
        );
    } else {
        tracing::debug!(path, peer, %error, "the client left before the response was sent");
    }
}

/// Waits for the timeout of a drain, if the future itself holds the guard.
fn poll_aborted(pending: &mut PendingUpgrade, cx: &mut Context<'_>) -> Poll<()> {
    let Some(admitted) = &pending.admitted else { return Poll::Pending };
    pending.aborted.get_or_insert_with(|| Box::pin(admitted.aborted())).as_mut().poll(cx)
}

/// Waits for the deadline. Never ready without a deadline or outside of a runtime.
fn poll_deadline(
    deadline: Option<Instant>,
    sleep: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(deadline) = deadline.filter(|_| Handle::try_current().is_ok()) else {
        return Poll::Pending;
    };
    sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline))).as_mut().poll(cx)
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("negotiated", &self.0.negotiated).finish_non_exhaustive()
    }
}

/// Makes a connection of the stream. A TCP stream is unwrapped from hyper's or hyper-util's
/// connection, together with the bytes that were read after the request.
fn into_conn(upgraded: Upgraded, negotiated: Negotiated, pending: &mut PendingUpgrade) -> Conn {
    if pending.version == Version::HTTP_2 {
        return conn_over(Http2Stream::new(upgraded), negotiated, Bytes::new(), pending);
    }
    match unwrap_tcp(upgraded) {
        Ok((tcp, leftover)) => conn_over(tcp, negotiated, leftover, pending),
        Err(upgraded) => conn_over(TokioIo::new(upgraded), negotiated, Bytes::new(), pending),
    }
}

fn conn_over<T>(
    io: T,
    negotiated: Negotiated,
    leftover: Bytes,
    pending: &mut PendingUpgrade,
) -> Conn
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (config, client) = (Arc::clone(&pending.config), pending.peer_addr);
    match pending.request.take() {
        Some(PendingRequest::Kept(kept)) => {
            server_conn_with(io, negotiated, leftover, config, client, kept)
        }
        Some(PendingRequest::Changing(info)) => {
            server_conn(io, negotiated, leftover, config, client, Some(*info))
        }
        None => server_conn(io, negotiated, leftover, config, client, None),
    }
}

/// The TCP stream of a connection of our servers, of hyper, or of hyper-util.
fn unwrap_tcp(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    let upgraded = match upgraded.downcast::<TokioIo<WriteTimeout<TcpStream>>>() {
        Ok(parts) => return Ok((parts.io.into_inner().into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let upgraded = match auto::upgrade::downcast::<TokioIo<WriteTimeout<TcpStream>>>(upgraded) {
        Ok(parts) => return Ok((parts.io.into_inner().into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)?;
    Ok((parts.io.into_inner(), parts.read_buf))
}
