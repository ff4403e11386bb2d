//! What is remembered of what was said?

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// How many rooms there may be, and for how many messages each is remembered.
const ROOMS: usize = 50;
const KEPT: usize = 100;

#[derive(Clone, Serialize)]
pub(crate) struct Said {
    /// A room, or `@` and the name of a person.
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) text: String,
    /// By this, the page knows its own words when they come back.
    pub(crate) key: String,
    /// When, in milliseconds, and never twice the same: so it is the order, too.
    pub(crate) at: u64,
}

/// What was said in each room.
#[derive(Default)]
pub(crate) struct Archive {
    rooms: BTreeMap<String, VecDeque<Said>>,
    last: u64,
}

impl Archive {
    /// A room that may be new, and then takes the place of an empty one if there are too
    /// many. Says whether it is there.
    pub(crate) fn open(&mut self, room: &str, is_empty: impl Fn(&str) -> bool) -> bool {
        if self.rooms.len() >= ROOMS && !self.rooms.contains_key(room) {
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

    pub(crate) fn keep(&mut self, said: Said) {
        if let Some(kept) = self.rooms.get_mut(&said.to) {
            kept.push_back(said);
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
    }

    /// What was said in a room after this time.
    pub(crate) fn since(&self, room: &str, after: u64) -> Vec<&Said> {
        let kept = self.rooms.get(room).into_iter().flatten();
        kept.filter(|said| said.at > after).collect()
    }

    /// The time for what is said next.
    pub(crate) fn now(&mut self) -> u64 {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.last = u64::try_from(time).unwrap_or(u64::MAX).max(self.last + 1);
        self.last
    }
}
