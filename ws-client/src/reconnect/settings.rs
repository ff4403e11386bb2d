//! What is dialled again, when, and what has to be done then?

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::driver::EndsWithTask;
use super::shared::Shared;
use super::{Backoff, Loss, Outbox, ReconnectError, ReconnectingConn, Verdict, driver};
use crate::{Conn, Dial, DialError};

/// Keeps a connection: dials, and dials again whenever it is lost. The settings chain by
/// value. When it tries again and what arrives is told by the [module](super).
///
/// ```no_run
/// use std::time::Duration;
/// use ws_client::reconnect::{Backoff, Outbox};
/// use ws_client::{Dial, Reconnect};
///
/// # async fn connect() -> Result<(), ws_client::reconnect::ReconnectError> {
/// let conn = Reconnect::new(Dial::new("wss://example.com/orders"))
///     .backoff(Backoff::new().max(Duration::from_secs(10)))
///     .outbox(Outbox::at_least_once())
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing happens before `connect` or `start`"]
pub struct Reconnect {
    dial: Dial,
    pub(super) backoff: Backoff,
    pub(super) max_attempts: Option<u32>,
    outbox: Outbox,
    prepare: Option<Arc<Prepare>>,
    open: Option<Arc<Open>>,
    greet: Option<Arc<Greet>>,
    judge: Option<Arc<Judge>>,
}

type Prepare = dyn Fn(Dial, u32) -> BoxFuture<'static, Result<Dial, Loss>> + Send + Sync;
type Open = dyn Fn(Dial) -> BoxFuture<'static, Result<Conn, DialError>> + Send + Sync;
type Greet = dyn Fn(Conn) -> BoxFuture<'static, Result<(), Loss>> + Send + Sync;
type Judge = dyn Fn(&Loss) -> Verdict + Send + Sync;

impl Reconnect {
    /// Keeps a connection to what this dials.
    ///
    /// The connection has [`Keepalive::default`](crate::Keepalive::default), unless the
    /// [`Config`](crate::Config) of the `Dial` says something else about pings.
    pub fn new(dial: Dial) -> Self {
        Self {
            dial: dial.with_keepalive(),
            backoff: Backoff::new(),
            max_attempts: None,
            outbox: Outbox::default(),
            prepare: None,
            open: None,
            greet: None,
            judge: None,
        }
    }

    /// How long to wait between attempts. Default: [`Backoff::new`].
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Gives up when so many attempts in a row have failed; zero is taken as one. Default:
    /// never.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// What becomes of messages when the connection is lost. Default:
    /// [`Outbox::at_most_once`].
    pub const fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = outbox;
        self
    }

    /// Is called before each attempt, and may change what is dialled: with a fresh token, or
    /// another server. It gets the `Dial` as it was given to [`new`](Self::new), and which
    /// attempt it is, counted from 1 since the last connection that lasted.
    ///
    /// An error is a failed attempt. It has no deadline but its own.
    pub fn on_attempt<F, E>(mut self, hook: impl Fn(Dial, u32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Dial, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.prepare = Some(Arc::new(move |dial, attempt| {
            let prepared = hook(dial, attempt);
            Box::pin(async move { prepared.await.map_err(failed) })
        }));
        self
    }

    /// Is called with each new connection, before anything is read from it or written to it
    /// elsewhere: to log in, to subscribe again, to ask for what was missed.
    ///
    /// An error is a failed attempt, and drops the connection. It has no deadline but its
    /// own.
    pub fn on_connect<F, E>(mut self, hook: impl Fn(Conn) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.greet = Some(Arc::new(move |conn| {
            let greeted = hook(conn);
            Box::pin(async move { greeted.await.map_err(failed) })
        }));
        self
    }

    /// Dials in another way than by [`Dial::connect`]: over a stream of one's own, with
    /// [`Dial::connect_over`].
    pub fn dial_by<F>(mut self, dial: impl Fn(Dial) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Conn, DialError>> + Send + 'static,
    {
        self.open = Some(Arc::new(move |settings| Box::pin(dial(settings))));
        self
    }

    /// Decides whether another attempt is worth it. Default: [`Loss::verdict`], to which what
    /// is of no interest can be left:
    ///
    /// ```
    /// use ws_client::reconnect::Verdict;
    /// use ws_client::{Dial, Reconnect, StatusCode};
    ///
    /// let reconnect = Reconnect::new(Dial::new("wss://example.com")).classify(|loss| {
    ///     match loss.close_status().map(StatusCode::as_u16) {
    ///         // This server closes with 1000 when it restarts.
    ///         Some(1000) => Verdict::Retry,
    ///         Some(4004) => Verdict::GiveUp,
    ///         _ => loss.verdict(),
    ///     }
    /// });
    /// ```
    pub fn classify(mut self, judge: impl Fn(&Loss) -> Verdict + Send + Sync + 'static) -> Self {
        self.judge = Some(Arc::new(judge));
        self
    }

    /// Connects, in as many attempts as it takes.
    ///
    /// # Errors
    ///
    /// When it is given up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives it up.
    pub async fn connect(self) -> Result<ReconnectingConn, ReconnectError> {
        let conn = self.start();
        conn.connected().await?;
        Ok(conn)
    }

    /// Begins to connect, and waits for nothing: what is written goes to the outbox meanwhile.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub fn start(self) -> ReconnectingConn {
        let shared = Arc::new(Shared::new(self.outbox));
        tokio::spawn(driver::run(EndsWithTask(Arc::clone(&shared)), self));
        ReconnectingConn::new(shared)
    }

    pub(super) async fn prepare(&self, attempt: u32) -> Result<Dial, Loss> {
        match &self.prepare {
            Some(prepare) => prepare(self.dial.clone(), attempt).await,
            None => Ok(self.dial.clone()),
        }
    }

    pub(super) async fn dial(&self, dial: Dial) -> Result<Conn, DialError> {
        match &self.open {
            Some(open) => open(dial).await,
            None => dial.connect().await,
        }
    }

    pub(super) async fn greet(&self, conn: &Conn) -> Result<(), Loss> {
        match &self.greet {
            Some(greet) => greet(conn.clone()).await,
            None => Ok(()),
        }
    }

    pub(super) fn judge(&self, loss: &Loss) -> Verdict {
        self.judge.as_ref().map_or_else(|| loss.verdict(), |judge| judge(loss))
    }
}

/// A hook has failed.
fn failed(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Loss {
    Loss::Hook(Arc::from(error.into()))
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect")
            .field("dial", &self.dial)
            .field("backoff", &self.backoff)
            .field("max_attempts", &self.max_attempts)
            .field("outbox", &self.outbox)
            .finish_non_exhaustive()
    }
}
