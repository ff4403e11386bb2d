//! What does the driver need from a connection to the server of a broker?

use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ws_events::broker::{BrokerSink, Subject};

/// A boxed future that can move to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How to connect to the server of a broker.
pub trait Connector: Send + Sync + 'static {
    /// A connection, or the connections to all servers of a cluster.
    type Session: Session;

    /// Connects and authenticates. Messages of the new session go to `inbox`.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at the timeout. Nothing that it began may then go on.
    ///
    /// # Errors
    ///
    /// Why it failed. The driver tries again after a delay.
    fn connect(
        &self,
        inbox: Inbox,
    ) -> impl Future<Output = Result<Self::Session, SessionError>> + Send;
}

/// A connection to the server of a broker. When it is dropped, it ends at once.
///
/// The futures are independent of the value that made them. If one of them fails, the driver drops
/// the session. Requests that were made earlier reach the server earlier.
pub trait Session: Send + 'static {
    /// What is subscribed to and published on: [`Subject`] for a
    /// [`Broker`](ws_events::broker::Broker).
    type Name: Clone + Debug + Eq + Hash + Send + Sync + 'static;

    /// The longest envelope that the server accepts, in bytes.
    fn max_payload(&self) -> usize;

    /// Changes subscriptions. Done when the server has confirmed all of them.
    fn change(
        &self,
        changes: Vec<Change<Self::Name>>,
    ) -> BoxFuture<'static, Result<(), SessionError>>;

    /// Publishes a batch in its order. Done when the server has got all of it.
    fn publish(
        &self,
        batch: Vec<QueuedEnvelope<Self::Name>>,
    ) -> BoxFuture<'static, Result<(), PublishFailure>>;

    /// Makes a round trip to the server on each connection.
    fn ping(&self) -> BoxFuture<'static, Result<(), SessionError>>;

    /// Done when a connection has ended.
    fn closed(&self) -> BoxFuture<'static, SessionError>;
}

/// A change of the subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<N = Subject> {
    /// Messages on this subject are wanted.
    Subscribe(N),
    /// They are not wanted any more.
    Unsubscribe(N),
}

impl<N> Change<N> {
    /// The subject.
    #[must_use]
    pub const fn subject(&self) -> &N {
        match self {
            Self::Subscribe(subject) | Self::Unsubscribe(subject) => subject,
        }
    }
}

/// An envelope that is queued, and its subject.
#[derive(Clone, Debug)]
pub struct QueuedEnvelope<N = Subject> {
    /// Where it is published.
    pub subject: N,
    /// Its bytes.
    pub envelope: Bytes,
}

/// Why a session failed: one line of text for the status `Down`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionError {
    cause: String,
}

impl SessionError {
    /// Makes an error from a text or another error. Control characters are replaced, and only the
    /// first 200 characters are kept, because a text may come from the server.
    #[must_use]
    pub fn new(cause: impl Display) -> Self {
        let cause = cause.to_string();
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        Self { cause: cause.chars().take(200).map(clean).collect() }
    }

    /// The text.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

/// Why a batch was not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishFailure {
    /// How many envelopes of the batch the server has confirmed nevertheless.
    pub confirmed: usize,
    /// Why the others were not.
    pub error: SessionError,
}

/// Where a session puts the messages that it receives.
#[derive(Clone)]
pub struct Inbox {
    sink: Arc<dyn BrokerSink>,
    is_open: Arc<AtomicBool>,
}

impl Inbox {
    pub(crate) fn new(sink: Arc<dyn BrokerSink>) -> Self {
        Self { sink, is_open: Arc::new(AtomicBool::new(true)) }
    }

    /// Passes a message on. It never waits. If the session has ended, the message is dropped.
    pub fn message(&self, subject: &str, envelope: Bytes) {
        if self.is_open.load(Ordering::Acquire) {
            self.sink.message(subject, envelope);
        }
    }

    pub(crate) fn close(&self) {
        self.is_open.store(false, Ordering::Release);
    }
}

impl Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("is_open", &self.is_open).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_one_line_of_bounded_length() {
        assert_eq!(SessionError::new("a\nb\x1B[0m").cause(), "a b [0m");
        assert_eq!(SessionError::new("ü".repeat(1000)).cause(), "ü".repeat(200));
    }
}
