//! Which settings does presence have, and why is somebody not tracked?

use std::sync::Arc;
use std::time::Duration;

use ws_core::Escaped;

/// The longest name of a room, and the longest key, in bytes.
pub(crate) const MAX_NAME: usize = 256;

/// The most that [`PresenceOptions::meta_bytes`] allows. What nodes send each other stays far below the
/// longest envelope of a broker.
const MAX_META: usize = 16 * 1024;

/// The settings of presence: see [`HubBuilder::presence`](crate::HubBuilder::presence). They should be
/// the same on all nodes of a cluster.
///
/// ```
/// use std::time::Duration;
/// use ws_events::{Hub, PresenceOptions};
///
/// let options = PresenceOptions::new().grace(Duration::from_secs(30)).devices_per_key(4);
/// let hub = Hub::builder().presence(options).build();
/// # let _ = hub;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "options do nothing before they are passed to `HubBuilder::presence`"]
pub struct PresenceOptions {
    pub(crate) grace: Duration,
    pub(crate) interval: Duration,
    pub(crate) meta_bytes: usize,
    pub(crate) keys: usize,
    pub(crate) devices: usize,
    pub(crate) entries: usize,
}

impl PresenceOptions {
    /// The default settings.
    pub const fn new() -> Self {
        Self {
            grace: Duration::from_secs(10),
            interval: Duration::from_millis(200),
            meta_bytes: 4 * 1024,
            keys: 10_000,
            devices: 16,
            entries: 100_000,
        }
    }

    /// How long a device stays in the list after its socket has ended, or its node is down. If its key
    /// is tracked again meanwhile, by any socket on any node, that is the same device, and nobody sees
    /// a leave and a join. Default: 10 s. With zero, it leaves at once.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long changes are collected, for the readers of
    /// [`changes`](crate::Presence::changes) and for the other nodes. Default: 200 ms.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The longest metadata of a device, in bytes of JSON. Default: 4 KiB; at most 16 KiB.
    pub fn meta_bytes(mut self, bytes: usize) -> Self {
        self.meta_bytes = bytes.min(MAX_META);
        self
    }

    /// The most keys of a room, on all nodes. Default: 10,000.
    pub const fn keys_per_room(mut self, keys: usize) -> Self {
        self.keys = keys;
        self
    }

    /// The most devices of a key in a room, on all nodes, with those that leave soon. Default: 16.
    pub const fn devices_per_key(mut self, devices: usize) -> Self {
        self.devices = devices;
        self
    }

    /// The most entries of one node: one for each socket, room and key. Entries of another node beyond
    /// that are ignored. Default: 100,000.
    pub const fn entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }
}

impl Default for PresenceOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Why presence was not changed. Its text is one line.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// The socket is not connected: it is disconnected, or middleware has not accepted it yet; or it
    /// belongs to another hub.
    #[error("the socket is not connected to this hub")]
    NotConnected,
    /// The socket is not tracked by this key in this room.
    #[error("the socket is not tracked by this key: call `track` first")]
    NotTracked,
    /// The name of the room or the key has more than 256 bytes.
    #[error("the name of a room and a key have at most {MAX_NAME} bytes, not {0}")]
    NameTooLong(usize),
    /// The metadata is too long.
    #[error("the metadata has {bytes} bytes, and `PresenceOptions::meta_bytes` allows {limit}")]
    #[non_exhaustive]
    MetaTooLong {
        /// Its length as JSON.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The room has too many keys.
    #[error("`PresenceOptions::keys_per_room` allows {0} keys in a room")]
    TooManyKeys(usize),
    /// The key has too many devices in the room.
    #[error("`PresenceOptions::devices_per_key` allows {0} devices of a key")]
    TooManyDevices(usize),
    /// The sockets of this process are tracked too often.
    #[error("`PresenceOptions::entries` allows {0} entries of a node")]
    TooManyEntries(usize),
    /// The metadata could not be serialised as JSON.
    #[error("the metadata cannot be serialised as JSON: {}", Escaped::new(&.0.to_string()))]
    Json(Arc<serde_json::Error>),
}
