//! Which settings does reconnecting have: dial, backoff, hooks, retry policy?

use std::error::Error as StdError;
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use super::BoxFuture;
use super::backoff::Backoff;
use super::failure::{ConnectionFailure, RetryDecision};
use super::send_queue::SendQueueConfig;
use super::session::SessionFormat;
use crate::{Conn, Dial, DialError};

/// The maximum `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// Connects, and reconnects whenever the connection is lost. The setters can be chained.
///
/// The [module](super) has the retry policy and the delivery guarantees.
///
/// ```no_run
/// use std::time::Duration;
/// use ws_client::reconnect::{Backoff, SendQueueConfig};
/// use ws_client::{Dial, Reconnect};
///
/// # async fn connect() -> Result<(), ws_client::reconnect::ReconnectError> {
/// let conn = Reconnect::new(Dial::new("wss://example.com/orders"))
///     .backoff(Backoff::new().max(Duration::from_secs(10)))
///     .send_queue(SendQueueConfig::at_least_once())
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "retry")]
#[must_use = "nothing happens before `connect` or `start`"]
pub struct Reconnect {
    pub(super) dial: Dial,
    pub(super) backoff: Backoff,
    max_attempts: Option<u32>,
    pub(super) send_queue: SendQueueConfig,
    pub(super) session: Option<SessionFormat>,
    pub(super) on_attempt: Arc<AttemptHook>,
    pub(super) dial_by: Arc<DialHook>,
    pub(super) on_connect: Arc<ConnectHook>,
    classify: Arc<RetryPolicy>,
}

type AttemptHook = dyn Fn(Dial, u32) -> BoxFuture<Result<Dial, ConnectionFailure>> + Send + Sync;
type DialHook = dyn Fn(Dial) -> BoxFuture<Result<Conn, DialError>> + Send + Sync;
type ConnectHook = dyn Fn(Conn) -> BoxFuture<Result<(), ConnectionFailure>> + Send + Sync;
type RetryPolicy = dyn Fn(&ConnectionFailure) -> RetryDecision + Send + Sync;

impl Reconnect {
    /// Connects with the settings of this `Dial`.
    ///
    /// [`Keepalive::default`](crate::Keepalive::default) is on, unless [`Dial::config`] enables
    /// or disables keepalive.
    pub fn new(dial: Dial) -> Self {
        Self {
            dial: dial.default_keepalive(),
            backoff: Backoff::new(),
            max_attempts: None,
            send_queue: SendQueueConfig::default(),
            session: None,
            on_attempt: Arc::new(|dial, _| Box::pin(ready(Ok(dial)))),
            dial_by: Arc::new(|dial| Box::pin(dial.connect())),
            on_connect: Arc::new(|_| Box::pin(ready(Ok(())))),
            classify: Arc::new(ConnectionFailure::retry_decision),
        }
    }

    /// Sets the wait between attempts. Default: [`Backoff::new`].
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Gives up after this many failed attempts in a row; zero counts as one. Default: no
    /// limit.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sets the delivery guarantee and the capacity of the send queue. Default:
    /// [`SendQueueConfig::at_most_once`].
    #[doc(alias = "outbox")]
    pub const fn send_queue(mut self, config: SendQueueConfig) -> Self {
        self.send_queue = config;
        self
    }

    /// Asks a hub of `ws-events` for the session of the connection that was lost: its id, its rooms,
    /// and the events that were missed. The hub has `HubBuilder::recovery`, and serves the connection
    /// as `Protocol::Resumable`. Default: each connection is a new one.
    ///
    /// The client sends the first message, and takes the answer. The application reads events alone,
    /// as JSON text: `{"event":…,"data":…}`, perhaps with more fields. If a session is lost,
    /// [`read`](super::ReconnectingConn::read) returns
    /// [`SessionLost`](super::ReconnectError::SessionLost) once.
    /// [`close`](super::ReconnectingConn::close) with 1000 ends the session. When the last handle is
    /// dropped, the hub keeps it until its window is over.
    ///
    /// Several concurrent calls of `read` return messages in the order of the calls. One that is not
    /// polled keeps the others waiting. What [`on_connect`](Self::on_connect) or
    /// [`connected`](super::ReconnectingConn::connected) reads from a connection itself does not count
    /// as read, and arrives again.
    ///
    /// ```no_run
    /// use ws_client::reconnect::ReconnectError;
    /// use ws_client::{Dial, Reconnect};
    ///
    /// # async fn load_everything() {}
    /// # async fn run() -> Result<(), ReconnectError> {
    /// let conn = Reconnect::new(Dial::new("wss://example.com/chat")).resumable().connect().await?;
    /// loop {
    ///     match conn.read().await {
    ///         Ok(event) => println!("{event:?}"),
    ///         Err(ReconnectError::SessionLost) => load_everything().await,
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # }
    /// ```
    #[cfg(feature = "json")]
    #[doc(alias("recovery", "resume", "session"))]
    pub const fn resumable(mut self) -> Self {
        self.session = Some(SessionFormat::ENVELOPE);
        self
    }

    /// Sets a hook that runs before each attempt, and may change the settings: set a fresh token,
    /// or dial another server.
    ///
    /// Its arguments are the `Dial` given to [`new`](Self::new), and the number of the attempt,
    /// from 1. It restarts at 1 after a connection that lasted at least as long as the maximum of
    /// the wait before it. An error counts as a failed attempt. The hook has no timeout.
    ///
    /// A hook that captures a value clones it for each call: see [`on_connect`](Self::on_connect).
    pub fn on_attempt<F, E>(mut self, hook: impl Fn(Dial, u32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Dial, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.on_attempt = Arc::new(move |dial, attempt| {
            let result = hook(dial, attempt);
            Box::pin(async move { result.await.map_err(hook_failed) })
        });
        self
    }

    /// Sets a hook that runs on each new connection, before any other read or write: log in,
    /// subscribe again, request missed messages. With `resumable`, the session was asked for
    /// before.
    ///
    /// An error drops the connection, and counts as a failed attempt. The hook has no timeout.
    ///
    /// A hook that captures a value clones it for each call. An `async` closure cannot: it would not
    /// implement `Fn`.
    ///
    /// ```
    /// # use ws_client::{Dial, Reconnect};
    /// let room = "red".to_owned();
    /// let reconnect = Reconnect::new(Dial::new("ws://localhost/")).on_connect(move |conn| {
    ///     let room = room.clone();
    ///     async move { conn.write(room).await }
    /// });
    /// # let _ = reconnect;
    /// ```
    pub fn on_connect<F, E>(mut self, hook: impl Fn(Conn) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.on_connect = Arc::new(move |conn| {
            let result = hook(conn);
            Box::pin(async move { result.await.map_err(hook_failed) })
        });
        self
    }

    /// Replaces [`Dial::connect`], for example by [`Dial::connect_over`] with your own stream.
    pub fn dial_by<F>(mut self, dial: impl Fn(Dial) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Conn, DialError>> + Send + 'static,
    {
        self.dial_by = Arc::new(move |settings| Box::pin(dial(settings)));
        self
    }

    /// Sets the retry policy. Default: [`ConnectionFailure::retry_decision`], which a policy can
    /// call for the other cases:
    ///
    /// ```
    /// use ws_client::reconnect::RetryDecision;
    /// use ws_client::{Dial, Reconnect, StatusCode};
    ///
    /// let reconnect = Reconnect::new(Dial::new("wss://example.com")).classify(|failure| {
    ///     match failure.close_status().map(StatusCode::as_u16) {
    ///         // This server closes with 1000 when it restarts.
    ///         Some(1000) => RetryDecision::Retry,
    ///         Some(4004) => RetryDecision::GiveUp,
    ///         _ => failure.retry_decision(),
    ///     }
    /// });
    /// ```
    #[doc(alias = "retry_policy")]
    pub fn classify(
        mut self,
        policy: impl Fn(&ConnectionFailure) -> RetryDecision + Send + Sync + 'static,
    ) -> Self {
        self.classify = Arc::new(policy);
        self
    }

    /// The wait before the next attempt, after `failed` failed attempts in a row. `None` means
    /// to give up.
    pub(super) fn retry_wait(&self, failure: &ConnectionFailure, failed: u32) -> Option<Duration> {
        let may_retry = self.max_attempts.is_none_or(|max| failed < max.max(1))
            && (self.classify)(failure) == RetryDecision::Retry;
        let after = failure.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
        may_retry.then(|| self.backoff.wait(failed) + after)
    }
}

fn hook_failed(error: impl Into<Box<dyn StdError + Send + Sync>>) -> ConnectionFailure {
    ConnectionFailure::Hook(Arc::from(error.into()))
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect")
            .field("dial", &self.dial)
            .field("backoff", &self.backoff)
            .field("max_attempts", &self.max_attempts)
            .field("send_queue", &self.send_queue)
            .field("resumable", &self.session.is_some())
            .finish_non_exhaustive()
    }
}
