//! How many messages does a room keep, for how long, and of which size?

use std::time::Duration;

/// What each message in a history counts, beside its own bytes.
pub(crate) const MESSAGE_OVERHEAD: usize = 64;

/// How much a room keeps of what was sent to it: the newest messages, within three limits.
///
/// ```
/// use std::time::Duration;
/// use ws_events::{History, Hub};
///
/// let half_an_hour = Duration::from_secs(30 * 60);
/// let hub = Hub::builder()
///     .envelope()
///     .history("chat:*", History::new().messages(500).age(half_an_hour))
///     .build();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "limits do nothing before they are passed to `HubBuilder::history`"]
pub struct History {
    pub(crate) messages: usize,
    pub(crate) age: Duration,
    pub(crate) bytes: usize,
}

impl History {
    /// The default limits: 1,000 messages, one hour, and 1 MiB.
    pub const fn new() -> Self {
        Self { messages: 1000, age: Duration::from_secs(60 * 60), bytes: 1024 * 1024 }
    }

    /// The largest number of messages of a room. Default: 1,000. With 0, nothing is kept, and a
    /// client recovers only if it has missed nothing.
    pub const fn messages(mut self, messages: usize) -> Self {
        self.messages = messages;
        self
    }

    /// The age after which a message is no longer returned. Default: one hour. The memory of old
    /// messages is released as later messages are stored, in any room.
    pub const fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// The largest size of the messages of a room, in bytes. Each counts its data, its name, and
    /// 64 bytes. Default: 1 MiB. A larger message is delivered, and not kept.
    pub const fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// The largest number of messages, for a [store](crate::HistoryStore).
    #[must_use]
    pub const fn max_messages(&self) -> usize {
        self.messages
    }

    /// The largest age, for a [store](crate::HistoryStore).
    #[must_use]
    pub const fn max_age(&self) -> Duration {
        self.age
    }

    /// The largest size in bytes, for a [store](crate::HistoryStore).
    #[must_use]
    pub const fn max_bytes(&self) -> usize {
        self.bytes
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}
