//! How far has each room with members been passed on, and what has to be read or asked for?
//!
//! Nothing here does I/O. A room that is watched has these states:
//!
//! ```text
//!             its position, or a record                  a later position, or a gap
//! unknown ───────────────────────────────▶ known at a position ───────────────▶ filling
//!    ▲                                          ▲        │                         │
//!    └── the history is gone, or another one ───┼────────┘         all was read    │
//!                                               └──────────────────────────────────┘
//! ```
//!
//! Redis publishes the positions of a room and its records in the order in which they were made. So
//! a position says that all records up to it have arrived, or never will.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ws_events::{HistoryError, HistoryPage, Position};

use crate::history::name::Published;

/// The rooms that are watched.
#[derive(Debug, Default)]
pub(crate) struct RoomTracker {
    rooms: HashMap<Arc<str>, TrackedRoom>,
}

#[derive(Debug, Default)]
struct TrackedRoom {
    /// What was passed on last.
    at: Option<Position>,
    /// The largest offset that is known to exist.
    target: u64,
    /// Its history is being read behind this position.
    filling: Option<Position>,
}

/// What has to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TrackerStep {
    /// A record is passed on.
    Deliver(Position, Bytes),
    /// The next record follows this position.
    Reached(Position),
    /// Records are lost.
    Lost,
    /// Redis has to be asked for the position.
    Ask,
    /// The history behind this position has to be read.
    Fill(Position),
}

impl RoomTracker {
    pub(crate) fn watch(&mut self, key: Arc<str>) -> Vec<TrackerStep> {
        self.rooms.insert(key, TrackedRoom::default());
        vec![TrackerStep::Ask]
    }

    pub(crate) fn unwatch(&mut self, key: &str) {
        self.rooms.remove(key);
    }

    /// The connection is lost on which records have arrived. Returns the rooms whose position was not
    /// known yet: nobody can say what their members have missed.
    pub(crate) fn disconnected(&self) -> Vec<Arc<str>> {
        let unknown = self.rooms.iter().filter(|(_, room)| room.at.is_none());
        unknown.map(|(key, _)| Arc::clone(key)).collect()
    }

    /// The rooms that are watched.
    pub(crate) fn keys(&self) -> Vec<Arc<str>> {
        self.rooms.keys().cloned().collect()
    }

    pub(crate) fn is_watched(&self, key: &str) -> bool {
        self.rooms.contains_key(key)
    }

    /// A record or a position has arrived.
    pub(crate) fn arrived(&mut self, published: Published) -> Vec<TrackerStep> {
        let Published { key, position, record } = published;
        let Some(room) = self.rooms.get_mut(&key) else { return Vec::new() };
        let mut steps = Vec::new();
        if room.at.is_some_and(|at| at.epoch != position.epoch) {
            steps.push(TrackerStep::Lost);
            *room = TrackedRoom::default();
        }
        match (room.at, record) {
            (None, Some(record)) => {
                room.at = Some(position);
                steps.push(TrackerStep::Deliver(position, record));
            }
            (None, None) => {
                room.at = Some(position);
                steps.push(TrackerStep::Reached(position));
            }
            (Some(at), Some(record)) if at.offset.checked_add(1) == Some(position.offset) => {
                room.at = Some(position);
                steps.push(TrackerStep::Deliver(position, record));
            }
            (Some(at), _) if position.offset > at.offset => {
                room.target = room.target.max(position.offset);
                if room.filling.is_none() {
                    room.filling = Some(at);
                    steps.push(TrackerStep::Fill(at));
                }
            }
            // It was read already.
            (Some(_), _) => {}
        }
        steps
    }

    /// The history of a room was read behind `from`.
    pub(crate) fn read(
        &mut self,
        key: &str,
        from: Position,
        page: Result<HistoryPage, HistoryError>,
    ) -> Vec<TrackerStep> {
        let Some(room) = self.rooms.get_mut(key) else { return Vec::new() };
        // Another read is of an earlier watch.
        let Some(before) = room.at.filter(|_| room.filling == Some(from)) else {
            return Vec::new();
        };
        let (mut at, mut steps) = (before, Vec::new());
        match page {
            Ok(page) => {
                for (position, record) in page.records {
                    let is_next = at.offset.checked_add(1) == Some(position.offset);
                    if position.epoch == at.epoch && is_next {
                        at = position;
                        steps.push(TrackerStep::Deliver(position, record));
                    }
                }
                room.at = Some(at);
                room.filling = (at.offset < room.target).then_some(at);
                if room.filling.is_some() && at == before {
                    // Redis has published what it does not have.
                    *room = TrackedRoom::default();
                    steps.extend([TrackerStep::Lost, TrackerStep::Ask]);
                } else if room.filling.is_some() {
                    steps.push(TrackerStep::Fill(at));
                }
            }
            Err(HistoryError::Unavailable(_)) => {
                room.filling = None;
                steps.push(TrackerStep::Ask);
            }
            Err(_) => {
                *room = TrackedRoom::default();
                steps.extend([TrackerStep::Lost, TrackerStep::Ask]);
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch, offset }
    }

    fn record(offset: u64) -> Bytes {
        offset.to_string().into()
    }

    /// What happens to the room `red`.
    enum Event {
        Record(u64, u64),
        Position(u64, u64),
        Read(Position, Result<std::ops::RangeInclusive<u64>, HistoryError>),
    }

    use Event::{Position as Asked, Read, Record};

    /// The steps, as texts: `1` for a record, `=1` for a position, and `>1` for a read.
    fn steps(events: Vec<Event>) -> String {
        let mut tracker = RoomTracker::default();
        let mut steps = tracker.watch("red".into());
        for event in events {
            let published = |epoch, offset, record| Published {
                key: "red".into(),
                position: at(epoch, offset),
                record,
            };
            steps.extend(match event {
                Record(epoch, offset) => {
                    tracker.arrived(published(epoch, offset, Some(record(offset))))
                }
                Asked(epoch, offset) => tracker.arrived(published(epoch, offset, None)),
                Read(from, page) => {
                    let page = page.map(|offsets| HistoryPage {
                        last: at(from.epoch, *offsets.end()),
                        records: offsets.map(|it| (at(from.epoch, it), record(it))).collect(),
                    });
                    tracker.read("red", from, page)
                }
            });
        }
        let text = |step: &TrackerStep| match step {
            TrackerStep::Deliver(position, bytes) => {
                assert_eq!(*bytes, record(position.offset));
                position.offset.to_string()
            }
            TrackerStep::Reached(position) => format!("={}", position.offset),
            TrackerStep::Lost => "lost".to_owned(),
            TrackerStep::Ask => "ask".to_owned(),
            TrackerStep::Fill(position) => format!(">{}", position.offset),
        };
        steps.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn records_are_passed_on_once_in_order_and_without_gaps() {
        use HistoryError::{Trimmed, Unavailable, UnknownPosition};

        let down = || Unavailable("down".into());
        for (name, events, expected) in [
            ("in order", vec![Asked(1, 4), Record(1, 5), Record(1, 6)], "ask =4 5 6"),
            ("before the position", vec![Record(1, 5), Asked(1, 5)], "ask 5"),
            ("twice", vec![Asked(1, 4), Record(1, 5), Record(1, 5), Record(1, 4)], "ask =4 5"),
            (
                "a gap",
                vec![Asked(1, 4), Record(1, 7), Record(1, 8), Read(at(1, 4), Ok(5..=8))],
                "ask =4 >4 5 6 7 8",
            ),
            (
                "a gap that grows",
                vec![
                    Asked(1, 4),
                    Record(1, 6),
                    Record(1, 9),
                    Read(at(1, 4), Ok(5..=7)),
                    Read(at(1, 7), Ok(8..=9)),
                    Record(1, 10),
                ],
                "ask =4 >4 5 6 7 >7 8 9 10",
            ),
            (
                "the next one, while the gap before it is read",
                vec![
                    Asked(1, 4),
                    Record(1, 6),
                    Record(1, 5),
                    Record(1, 6),
                    Read(at(1, 4), Ok(5..=6)),
                ],
                "ask =4 >4 5 6",
            ),
            (
                "a read of an earlier watch",
                vec![
                    Asked(1, 10),
                    Record(1, 12),
                    Read(at(1, 4), Ok(5..=9)),
                    Read(at(1, 4), Err(Trimmed)),
                    Read(at(1, 10), Ok(11..=12)),
                ],
                "ask =10 >10 11 12",
            ),
            (
                "the largest offset",
                vec![Asked(1, u64::MAX), Record(1, 5), Asked(1, u64::MAX)],
                &format!("ask ={}", u64::MAX),
            ),
            (
                "a position shows a gap",
                vec![Asked(1, 4), Asked(1, 6), Asked(1, 6), Read(at(1, 4), Ok(5..=6))],
                "ask =4 >4 5 6",
            ),
            (
                "what is gone",
                vec![
                    Asked(1, 4),
                    Record(1, 7),
                    Read(at(1, 4), Err(Trimmed)),
                    Asked(1, 8),
                    Record(1, 9),
                ],
                "ask =4 >4 lost ask =8 9",
            ),
            (
                "what another server has",
                vec![Asked(1, 4), Record(1, 7), Read(at(1, 4), Err(UnknownPosition)), Asked(2, 1)],
                "ask =4 >4 lost ask =1",
            ),
            (
                "what was published and is nowhere",
                vec![Asked(1, 4), Record(1, 7), Read(at(1, 4), Ok(9..=9))],
                "ask =4 >4 lost ask",
            ),
            (
                "a read that fails",
                vec![Asked(1, 4), Record(1, 7), Read(at(1, 4), Err(down())), Asked(1, 7)],
                "ask =4 >4 ask >4",
            ),
            ("another epoch", vec![Asked(1, 4), Record(2, 3), Record(2, 4)], "ask =4 lost 3 4"),
            ("another epoch, asked", vec![Record(1, 4), Asked(2, 0)], "ask 4 lost =0"),
            (
                "a read of an earlier epoch",
                vec![Asked(1, 4), Record(1, 6), Asked(2, 0), Read(at(1, 4), Ok(5..=6))],
                "ask =4 >4 lost =0",
            ),
            (
                "a read that nobody waits for",
                vec![Asked(1, 4), Read(at(1, 4), Ok(5..=6))],
                "ask =4",
            ),
        ] {
            assert_eq!(steps(events), expected, "{name}");
        }
    }

    #[test]
    fn only_what_is_watched_is_passed_on() {
        let mut tracker = RoomTracker::default();
        let published = || Published { key: "red".into(), position: at(1, 1), record: None };
        assert_eq!(tracker.arrived(published()), []);
        tracker.watch("red".into());
        assert!(tracker.is_watched("red") && !tracker.is_watched("blue"));
        assert_eq!(tracker.disconnected(), [Arc::from("red")]);
        assert_eq!(tracker.arrived(published()), [TrackerStep::Reached(at(1, 1))]);
        assert!(tracker.disconnected().is_empty());
        tracker.unwatch("red");
        assert_eq!(tracker.arrived(published()), []);
        assert_eq!(tracker.read("red", at(1, 1), Err(HistoryError::Trimmed)), []);
        assert!(tracker.keys().is_empty());
    }
}
