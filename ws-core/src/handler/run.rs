//! How does a handler run, and how does its connection end?

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};

use super::panic::{Catch, Caught, HandlerPanic};
use super::tracker::{ConnectionTracker, Ticket};
use super::{DrainCounts, HandlerOutput};
use crate::{AcceptError, AcceptOptions, Conn, Rejection, StatusCode};

type Recover = dyn Fn(HandlerPanic) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// What options say about handlers.
#[derive(Clone, Default)]
pub(crate) struct Handling {
    recover: Option<Arc<Recover>>,
    tracker: Option<ConnectionTracker>,
}

impl AcceptOptions {
    /// What to do when a handler panics, before the connection is closed with 1011. The
    /// connection is still open, so a last message can be written. A hook that panics is
    /// caught too. Default: the payload and a backtrace are logged through `tracing`.
    ///
    /// ```
    /// # use ws_core::AcceptOptions;
    /// let options = AcceptOptions::new().on_panic(|panicked| async move {
    ///     let _ = panicked.conn.write("sorry").await;
    /// });
    /// ```
    pub fn on_panic<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(HandlerPanic) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handling.recover = Some(Arc::new(move |panicked| Box::pin(hook(panicked))));
        self
    }

    /// Who counts the connections, so that they can be [drained](ConnectionTracker::drain) when the
    /// server stops. Default: nobody.
    pub fn tracker(mut self, tracker: &ConnectionTracker) -> Self {
        self.handling.tracker = Some(tracker.clone());
        self
    }

    /// Lets one more connection in. For adapters, when a request has been found good.
    ///
    /// # Errors
    ///
    /// [`Rejection::ShuttingDown`] when the [`tracker`](Self::tracker) is being drained.
    pub fn admit(&self) -> Result<ConnectionGuard, Rejection> {
        let ticket = match &self.handling.tracker {
            None => None,
            Some(tracker) => Some(tracker.admit().ok_or(Rejection::ShuttingDown)?),
        };
        Ok(ConnectionGuard { recover: self.handling.recover.clone(), ticket })
    }
}

impl Conn {
    /// Makes the server's side of the opening handshake on a byte stream, as
    /// [`accept`](Self::accept) does, and runs a handler to its end, as
    /// [`ConnectionGuard::run`] does.
    ///
    /// # Errors
    ///
    /// As `accept`. What the handler returns is no error of this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler, and with it the connection.
    pub async fn serve<T, F, Fut>(
        io: T,
        options: &AcceptOptions,
        handler: F,
    ) -> Result<(), AcceptError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output: HandlerOutput>,
    {
        // On the heap: while the handler runs, there is no room held for this.
        let (conn, admitted) = Box::pin(Self::accept_admitted(io, options)).await?;
        admitted.run(conn, handler).await;
        Ok(())
    }
}

/// A connection that was let in: counted until this is gone. Made by
/// [`AcceptOptions::admit`].
#[must_use = "it counts the connection, and runs its handler"]
pub struct ConnectionGuard {
    recover: Option<Arc<Recover>>,
    ticket: Option<Ticket>,
}

impl ConnectionGuard {
    /// Runs a handler to its end, and then closes the connection: with 1000 when the
    /// handler returns, with 1011 when it returns an error or panics.
    ///
    /// A panic goes to the hook of [`AcceptOptions::on_panic`], and no further. When a
    /// [`ConnectionTracker`] has waited for long enough, the handler is dropped where it is, and the
    /// transport is cut.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler, and the connection if nobody else has it.
    pub async fn run<F, Fut>(self, conn: Conn, handler: F)
    where
        F: FnOnce(Conn) -> Fut,
        Fut: Future<Output: HandlerOutput>,
    {
        if !self.attach(&conn) {
            return drop(conn.closed().await);
        }
        let given = conn.clone();
        // Within the future, the call itself may panic as well.
        let handled = async { handler(given).await.into_error() };
        let mut handled = Catch::within(conn.span(), handled);
        let Some(outcome) = self.until_cut(Pin::new(&mut handled)).await else {
            return conn.close_now();
        };
        drop(handled);
        // On the heap: while the handler runs, there is no room held for what comes then.
        let mut ended = Box::pin(self.end(&conn, outcome));
        if self.until_cut(ended.as_mut()).await.is_none() {
            conn.close_now();
        }
    }

    /// Closes as the handler has ended.
    async fn end(&self, conn: &Conn, outcome: Result<Option<String>, Caught>) {
        let code = match outcome {
            Ok(None) => StatusCode::NORMAL_CLOSURE,
            Ok(Some(error)) => {
                log(conn, &error);
                StatusCode::INTERNAL_ERROR
            }
            Err(caught) => {
                self.recover(HandlerPanic::new(conn.clone(), caught)).await;
                StatusCode::INTERNAL_ERROR
            }
        };
        // How it ended can be asked of the connection.
        let _ = conn.close(code, "").await;
    }

    /// Waits for a future, but no longer than the [`ConnectionTracker`] does: `None` then. For
    /// adapters that wait for a transport.
    ///
    /// # Cancel safety
    ///
    /// As the future's.
    pub async fn wait<F: Future>(&self, future: F) -> Option<F::Output> {
        self.until_cut(pin!(future)).await
    }

    async fn until_cut<F: Future>(&self, mut future: Pin<&mut F>) -> Option<F::Output> {
        let Some(ticket) = &self.ticket else { return Some(future.await) };
        let mut cut = Box::pin(ticket.cut());
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => cut.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// Leaves the connection to itself: it is counted until its last handle is gone, and
    /// nothing but the application ends it. For adapters that have no handler to run.
    pub fn release(self, conn: &Conn) {
        self.attach(conn);
        if let Some(ticket) = self.ticket {
            conn.attributes().insert(Arc::new(ticket));
        }
    }

    /// Says whose connection it is. `false` when it came too late, and is being closed.
    fn attach(&self, conn: &Conn) -> bool {
        self.ticket.as_ref().is_none_or(|ticket| ticket.attach(conn))
    }

    async fn recover(&self, panicked: HandlerPanic) {
        let Some(recover) = &self.recover else { return panicked.log() };
        let conn = panicked.conn.clone();
        if let Err(caught) = Catch::new(async { recover(panicked).await }).await {
            HandlerPanic::new(conn, caught).log();
        }
    }
}

impl fmt::Debug for ConnectionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionGuard")
            .field("tracked", &self.ticket.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Option<DrainCounts> = self.tracker.as_ref().map(ConnectionTracker::counts);
        f.debug_struct("Handling")
            .field("on_panic", &self.recover.is_some())
            .field("tracker", &counts)
            .finish()
    }
}

/// Notes what a handler returned that is an error.
fn log(conn: &Conn, error: &str) {
    match conn.close_info() {
        // Most handlers end so: their peer is gone.
        Some(_) => tracing::debug!(conn = conn.id(), error, "a handler has ended"),
        None => tracing::warn!(conn = conn.id(), error, "a handler has failed"),
    }
}
