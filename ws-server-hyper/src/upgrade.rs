//! How does hyper's upgraded stream become a connection?

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Version;
use hyper::body::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};
use ws_core::handler::{ConnectionGuard, HandlerOutput};
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Error, RequestInfo, Role};

use crate::http2::Http2Stream;

/// A connection to come: ready when the answer has been sent. Made by
/// [`accept`](crate::accept).
///
/// [`serve`](Self::serve) runs a handler with it; awaiting it gives the [`Conn`] itself.
///
/// # Errors
///
/// [`Error::Io`] when hyper gives the transport up before that, or does not hand it
/// over within [`AcceptOptions::handshake_timeout`](ws_core::AcceptOptions::handshake_timeout)
/// from when the request was given to the adapter.
///
/// # Cancel safety
///
/// Dropping it drops the connection.
#[must_use = "there is no connection until it is served or awaited"]
pub struct Upgrade(Box<Waiting>);

struct Waiting {
    on_upgrade: OnUpgrade,
    version: Version,
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    agreed: Negotiated,
    admitted: Option<ConnectionGuard>,
    config: Arc<Config>,
    request: Option<RequestInfo>,
}

impl Upgrade {
    pub(crate) fn new(
        on_upgrade: OnUpgrade,
        version: Version,
        deadline: Option<Instant>,
        agreed: Negotiated,
        admitted: ConnectionGuard,
        config: Arc<Config>,
        request: Option<RequestInfo>,
    ) -> Self {
        Self(Box::new(Waiting {
            on_upgrade,
            version,
            deadline,
            sleep: None,
            agreed,
            admitted: Some(admitted),
            config,
            request,
        }))
    }

    /// What the handshake agreed on.
    pub fn agreed(&self) -> &Negotiated {
        &self.0.agreed
    }

    /// The request that the connection will keep, to add to what it says; `None` if
    /// [it is not kept](ws_core::AcceptOptions::keep_request).
    pub fn request_mut(&mut self) -> Option<&mut RequestInfo> {
        self.0.request.as_mut()
    }

    /// Is its time over, so that it will fail? The answer is then
    /// [`Rejection::Timeout`](ws_core::Rejection::Timeout). For adapters that give the
    /// answer some time after the request was accepted.
    pub fn is_late(&self) -> bool {
        self.0.deadline.is_some_and(|deadline| deadline < Instant::now())
    }

    /// Waits for the connection, and runs a handler with it to its end, as
    /// [`ConnectionGuard::run`] does: 1000 when the handler returns, 1011 when it fails or panics.
    /// To be spawned.
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
    /// When there was no connection. What the handler returns is no error of this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler, and with it the connection.
    pub async fn serve<F, Fut>(mut self, handler: F) -> Result<(), Error>
    where
        F: FnOnce(Conn) -> Fut,
        Fut: Future<Output: HandlerOutput>,
    {
        let Some(admitted) = self.0.admitted.take() else { return Ok(()) };
        // The server may stop before the transport comes.
        let Some(conn) = admitted.wait(&mut self).await else { return Ok(()) };
        let conn = conn?;
        drop(self);
        admitted.run(conn, handler).await;
        Ok(())
    }
}

impl Future for Upgrade {
    type Output = Result<Conn, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiting = &mut *self.0;
        let upgraded = match Pin::new(&mut waiting.on_upgrade).poll(cx) {
            Poll::Ready(upgraded) => upgraded.map_err(io::Error::other),
            Poll::Pending => {
                ready!(poll_deadline(waiting.deadline, &mut waiting.sleep, cx));
                let why = "no transport within `AcceptOptions::handshake_timeout`";
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            }
        };
        let upgraded = upgraded.map_err(|error| Error::Io(Arc::new(error)))?;
        let agreed = std::mem::take(&mut waiting.agreed);
        let conn = connect(upgraded, waiting.version, agreed, Arc::clone(&waiting.config));
        if let Some(request) = waiting.request.take() {
            conn.set_request(request);
        }
        if let Some(admitted) = waiting.admitted.take() {
            admitted.release(&conn);
        }
        Poll::Ready(Ok(conn))
    }
}

/// Waits for the deadline, if there is one, and a runtime to wait in.
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
        f.debug_struct("Upgrade").field("agreed", &self.0.agreed).finish_non_exhaustive()
    }
}

/// Takes the stream over: as the TCP stream that it is, where it is one below hyper's
/// own connection or below hyper-util's, with what was read behind the request.
fn connect(upgraded: Upgraded, version: Version, agreed: Negotiated, config: Arc<Config>) -> Conn {
    if version == Version::HTTP_2 {
        let io = Http2Stream::new(upgraded);
        return Conn::from_stream(io, Role::Server, agreed, Bytes::new(), config);
    }
    let (tcp, leftover) = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => (parts.io, parts.read_buf),
        Err(upgraded) => match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => (parts.io, parts.read_buf),
            Err(upgraded) => {
                let io = TokioIo::new(upgraded);
                return Conn::from_stream(io, Role::Server, agreed, Bytes::new(), config);
            }
        },
    };
    Conn::from_stream(tcp.into_inner(), Role::Server, agreed, leftover, config)
}
