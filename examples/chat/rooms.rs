//! Which rooms exist, and what is in their histories?

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use ws_events::{EncodeError, Hub, Stored};

/// The maximum number of rooms, and of messages in the history of a room.
const MAX_ROOMS: usize = 50;
pub(crate) const MAX_HISTORY: usize = 100;

/// How often something is tried while the store does not answer, because Redis starts again: for ten
/// seconds.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct ChatMessage {
    /// The name of a room, or `@` and the name of a user.
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) text: String,
    /// Chosen by the sender's page, different for each message, to recognize it.
    pub(crate) key: String,
    /// Milliseconds since 1970, strictly increasing in a process. Pages sort by it.
    pub(crate) at: u64,
}

/// The rooms that users may join.
#[derive(Default)]
pub(crate) struct Rooms(BTreeSet<String>);

impl Rooms {
    /// Creates a room, unless it exists. At the maximum, it replaces an empty room. Returns
    /// whether the room exists now.
    pub(crate) fn create(&mut self, room: &str, is_empty: impl Fn(&str) -> bool) -> bool {
        if self.0.len() >= MAX_ROOMS && !self.0.contains(room) {
            let Some(empty) = self.0.iter().find(|room| is_empty(room)).cloned() else {
                return false;
            };
            self.0.remove(&empty);
        }
        self.0.insert(room.to_owned());
        true
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.iter()
    }
}

/// The messages in the history of a room, the oldest first. Empty if the store does not answer.
pub(crate) async fn latest(hub: &Hub, room: &str) -> Vec<ChatMessage> {
    for _ in 0..TRIES {
        if let Ok(messages) = hub.room(room).latest(MAX_HISTORY).await {
            return messages.iter().filter_map(|message| message.json().ok()).collect();
        }
        sleep(PAUSE).await;
    }
    Vec::new()
}

/// Stores a message, and delivers it to the members of the room in all processes. Returns `false` if the
/// store takes nothing: nobody gets the message then.
pub(crate) async fn say(
    hub: &Hub,
    last: &LastTimestamp,
    room: &str,
    message: &mut ChatMessage,
) -> Result<bool, EncodeError> {
    for _ in 0..TRIES {
        if last.emit(hub, room, message)? != Stored::Refused {
            return Ok(true);
        }
        sleep(PAUSE).await;
    }
    Ok(false)
}

/// The timestamp of the last message. It is locked while a message is stored, so the messages of this
/// process have their order. Emitting does not block.
#[derive(Default)]
pub(crate) struct LastTimestamp(Mutex<u64>);

impl LastTimestamp {
    fn emit(&self, hub: &Hub, room: &str, said: &mut ChatMessage) -> Result<Stored, EncodeError> {
        let mut last = self.0.lock();
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        *last = u64::try_from(time).unwrap_or(u64::MAX).max(*last + 1);
        said.at = *last;
        Ok(hub.to(room).emit("said", said)?.stored)
    }
}
