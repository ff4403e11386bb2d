//! What does a hub need from a store that keeps the messages of rooms?

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;
use ws_core::Escaped;

use crate::history::limits::History;
use crate::history::position::Position;

/// Keeps the messages of rooms with a [`History`]. [`MemoryHistory`](crate::MemoryHistory) is the
/// default. A store for several processes is passed to
/// [`HubBuilder::history_store`](crate::HubBuilder::history_store).
///
/// A key is a room of a namespace, and a record is a message as the hub encodes it. A store keeps
/// both as they are, and does not read them. It numbers the records of each key from 1 without
/// gaps, and gives a key another [epoch](Position::epoch) when it has lost records that it had
/// numbered.
///
/// No method waits: a store answers at once, or by a [`HistoryReply::Later`]. The exception is
/// [`shutdown`](Self::shutdown).
pub trait HistoryStore: Send + Sync + 'static {
    /// Called once, before any other method. A store that does not number a record at once passes
    /// it to the sink when it is stored.
    fn start(&self, sink: Arc<dyn HistorySink>) {
        drop(sink);
    }

    /// The room of this key has members in this process from now on. The store passes all records to
    /// the sink that are appended after this call, and before that their [start](HistorySink::reached).
    /// Called under a lock of the registry of rooms: it must not block, and must not call the sink.
    fn watch(&self, key: &str) {
        let _ = key;
    }

    /// The room of this key has no members in this process any more. Called as
    /// [`watch`](Self::watch), and in order with it.
    fn unwatch(&self, key: &str) {
        let _ = key;
    }

    /// Stores a record behind all others of its key, and removes the oldest beyond the limits. The
    /// hub calls it under the lock that orders the messages of the room, so it must not block.
    ///
    /// # Errors
    ///
    /// [`HistoryError::Unavailable`] if the record is not stored. The hub then does not deliver it.
    fn append(&self, key: &str, record: &[u8], limits: &History) -> Result<Appended, HistoryError>;

    /// The records behind a position, the oldest first, at most `most` of them.
    ///
    /// The result is [`HistoryError::Trimmed`] if any record behind the position is gone, and
    /// [`HistoryError::UnknownPosition`] if the epoch is another one, or the offset is beyond the
    /// last record.
    fn since(&self, key: &str, position: Position, most: usize) -> HistoryReply<HistoryPage>;

    /// The newest records, at most `most` of them, the oldest first. With 0, only the position of
    /// the last record; for a key without records, the offset is 0.
    fn latest(&self, key: &str, most: usize) -> HistoryReply<HistoryPage>;

    /// Removes the records up to this one, if it has the current epoch.
    fn trim(&self, key: &str, through: Position) -> HistoryReply<()>;

    /// Stores what was queued, until `deadline`, and takes nothing more. Called when the hub
    /// [drains](crate::Hub::drain). By default, it does nothing.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, what was queued may be stored or not.
    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        let _ = deadline;
        Box::pin(std::future::ready(()))
    }
}

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is stored. The hub delivers it now.
    Stored(Position),
    /// The store has taken it. It passes the record to the [`HistorySink`] of each process, this
    /// one included, when it is stored. The hub then delivers it.
    Queued,
}

/// Where a store puts the records that it did not number at once.
pub trait HistorySink: Send + Sync {
    /// A record was stored, by this process or by another one. The records of a key must come in
    /// the order of their offsets. It never waits.
    fn stored(&self, key: &str, position: Position, record: &[u8]);

    /// All records of a [watched](HistoryStore::watch) key up to this position were passed on, or are
    /// older than the watch, and the next one that is passed on follows it. A store calls it once it
    /// knows the position, and again after [`lost`](Self::lost). Until then, sessions of sockets that
    /// have joined the room cannot be recovered.
    fn reached(&self, key: &str, position: Position);

    /// Records of a watched key were stored, or may have been, that are not passed on. The hub closes
    /// the members whose sessions can be recovered with 1012: they come back, and learn that they have
    /// missed something. It reports
    /// [`HubEvent::HistoryGap`](crate::cluster::HubEvent::HistoryGap) for the others.
    fn lost(&self, key: &str);

    /// At most so many records that were [queued](Appended::Queued) may not have been stored. The hub
    /// reports [`HubEvent::NotStored`](crate::cluster::HubEvent::NotStored).
    fn not_stored(&self, records: u64);
}

/// Records of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The oldest first, without gaps.
    pub records: Vec<(Position, Bytes)>,
    /// The newest record of the key, which may be behind the last one of this page.
    pub last: Position,
}

/// The answer of a store.
#[must_use = "an answer that comes later does nothing unless it is awaited"]
pub enum HistoryReply<T> {
    /// The store has it in memory.
    Now(Result<T, HistoryError>),
    /// The store has to ask a server. The future should bound its wait.
    Later(BoxFuture<'static, Result<T, HistoryError>>),
}

impl<T> HistoryReply<T> {
    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// If the store cannot answer, or the position is not in its history.
    ///
    /// # Cancel safety
    ///
    /// Reading can be repeated. A [trim](HistoryStore::trim) may be carried out or not.
    pub async fn wait(self) -> Result<T, HistoryError> {
        match self {
            Self::Now(result) => result,
            Self::Later(future) => future.await,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for HistoryReply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(result) => f.debug_tuple("Now").field(result).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// Why a history does not take or return messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The room has no [`History`].
    #[error("the room has no history")]
    NoHistory,
    /// Messages behind the position are gone: they were too many, too large or too old.
    #[error("messages behind the position are no longer in the history")]
    Trimmed,
    /// The position is of a history that was lost, or of another room, or it is beyond the last
    /// message.
    #[error("the position is not in the history of the room")]
    UnknownPosition,
    /// The store does not answer or takes nothing now, for this reason.
    #[error("the history is unavailable: {}", Escaped::new(&**.0))]
    Unavailable(Arc<str>),
}
