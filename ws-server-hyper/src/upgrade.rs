//! How does hyper's upgraded stream become a connection?

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};
use ws_core::{AcceptOptions, Agreed, Config, Conn, Error, RequestInfo, Role};

/// A connection to come: ready when the answer has been sent. Made by
/// [`accept`](crate::accept).
///
/// # Errors
///
/// [`Error::Io`] when hyper gives the transport up before that, or does not hand it
/// over within [`AcceptOptions::handshake_timeout`].
///
/// # Cancel safety
///
/// Dropping it drops the connection.
#[must_use = "there is no connection until it is awaited"]
pub struct Upgrade(Box<Waiting>);

struct Waiting {
    on_upgrade: OnUpgrade,
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    agreed: Agreed,
    config: Arc<Config>,
    request: Option<RequestInfo>,
}

impl Upgrade {
    pub(crate) fn new(
        on_upgrade: OnUpgrade,
        agreed: Agreed,
        options: &AcceptOptions,
        request: RequestInfo,
    ) -> Self {
        Self(Box::new(Waiting {
            on_upgrade,
            deadline: options.timeout().and_then(|patience| Instant::now().checked_add(patience)),
            sleep: None,
            agreed,
            config: options.shared_config(),
            request: Some(request),
        }))
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
        let conn = connect(upgraded, agreed, Arc::clone(&waiting.config));
        if let Some(request) = waiting.request.take() {
            conn.set_request(request);
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
fn connect(upgraded: Upgraded, agreed: Agreed, config: Arc<Config>) -> Conn {
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
