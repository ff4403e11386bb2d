//! How does a hub keep the history of its rooms in this process?

use std::fmt;

use parking_lot::Mutex;
use rand::random;
use tokio::time::Instant;

use crate::history::limits::History;
use crate::history::log::RoomLogs;
use crate::history::position::Position;
use crate::history::store::{Appended, HistoryError, HistoryPage, HistoryReply, HistoryStore};

/// The default [`HistoryStore`]: the memory of this process. Its messages end with the process, and
/// other processes do not have them.
///
/// A room stays in the store when its last member leaves, or when its position was asked for. Beyond
/// the bound in all, rooms that never got a message are forgotten first, and then rooms that got no
/// message for long lose their oldest messages.
pub struct MemoryHistory {
    logs: Mutex<RoomLogs>,
    started: Instant,
}

impl MemoryHistory {
    /// A store of at most 64 MiB.
    pub fn new() -> Self {
        Self::with_bytes(64 * 1024 * 1024)
    }

    /// A store of at most so many bytes. Each message counts its data, its name, and 64 bytes; each
    /// room counts its name and 256 bytes.
    pub fn with_bytes(bytes: usize) -> Self {
        Self { logs: Mutex::new(RoomLogs::new(bytes, random())), started: Instant::now() }
    }
}

impl Default for MemoryHistory {
    fn default() -> Self {
        Self::new()
    }
}

impl HistoryStore for MemoryHistory {
    fn append(&self, key: &str, record: &[u8], limits: &History) -> Result<Appended, HistoryError> {
        let now = self.started.elapsed();
        Ok(Appended::Stored(self.logs.lock().append(now, key, record, limits)))
    }

    fn since(&self, key: &str, position: Position, most: usize) -> HistoryReply<HistoryPage> {
        let now = self.started.elapsed();
        HistoryReply::Now(self.logs.lock().since(now, key, position, most))
    }

    fn latest(&self, key: &str, most: usize) -> HistoryReply<HistoryPage> {
        let now = self.started.elapsed();
        HistoryReply::Now(Ok(self.logs.lock().latest(now, key, most)))
    }

    fn trim(&self, key: &str, through: Position) -> HistoryReply<()> {
        self.logs.lock().trim(key, through);
        HistoryReply::Now(Ok(()))
    }
}

impl fmt::Debug for MemoryHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryHistory").finish_non_exhaustive()
    }
}
