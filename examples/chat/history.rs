//! How is the message history of each room stored?

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The maximum number of rooms, and of messages in the history of a room.
const MAX_ROOMS: usize = 50;
const MAX_HISTORY: usize = 100;

#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct ChatMessage {
    /// The name of a room, or `@` and the name of a user.
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) text: String,
    /// Chosen by the sender's page, different for each message, to recognize it.
    pub(crate) key: String,
    /// Milliseconds since 1970. Strictly increasing, so it also is the order of messages.
    pub(crate) at: u64,
}

/// The history of each room.
#[derive(Default)]
pub(crate) struct History {
    rooms: BTreeMap<String, VecDeque<ChatMessage>>,
    last_timestamp: u64,
}

impl History {
    /// Creates a room, unless it exists. At the maximum, it replaces an empty room. Returns
    /// whether the room exists now.
    pub(crate) fn create_room(&mut self, room: &str, is_empty: impl Fn(&str) -> bool) -> bool {
        if self.rooms.len() >= MAX_ROOMS && !self.rooms.contains_key(room) {
            let Some(empty) = self.rooms.keys().find(|room| is_empty(room)).cloned() else {
                return false;
            };
            self.rooms.remove(&empty);
        }
        self.rooms.entry(room.to_owned()).or_default();
        true
    }

    pub(crate) fn rooms(&self) -> impl Iterator<Item = &String> {
        self.rooms.keys()
    }

    pub(crate) fn push(&mut self, message: ChatMessage) {
        // It may be of another process.
        self.last_timestamp = self.last_timestamp.max(message.at);
        if let Some(messages) = self.rooms.get_mut(&message.to) {
            messages.push_back(message);
            if messages.len() > MAX_HISTORY {
                messages.pop_front();
            }
        }
    }

    /// The same message, sent before.
    pub(crate) fn find(&self, message: &ChatMessage) -> Option<&ChatMessage> {
        let ChatMessage { from, key, .. } = message;
        let messages = self.rooms.get(&message.to)?;
        messages.iter().rev().find(|known| known.key == *key && known.from == *from)
    }

    /// The messages of a room after a timestamp.
    pub(crate) fn since(&self, room: &str, after: u64) -> Vec<&ChatMessage> {
        let messages = self.rooms.get(room).into_iter().flatten();
        messages.filter(|message| message.at > after).collect()
    }

    /// The timestamp of the next message.
    pub(crate) fn next_timestamp(&mut self) -> u64 {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.last_timestamp = u64::try_from(time).unwrap_or(u64::MAX).max(self.last_timestamp + 1);
        self.last_timestamp
    }
}
