//! What does a store, or another node, get to know of a session, and how is it encoded?
//!
//! A record is a byte with the version, and JSON. It comes from a server that others may write to:
//! any other bytes are no record.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::history::position::Position;
use crate::recovery::sent_log::MAX_SENT;

/// Another layout has another version.
const VERSION: u8 = 2;

/// The longest record, in bytes. A session that does not fit is recovered on its own node only.
pub(crate) const MAX_RECORD: usize = 256 * 1024;

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionRecord {
    /// A connection has claimed it, with this number.
    Claimed(u64),
    /// A node holds it. The record has this number.
    Held { owner: u64, generation: u64 },
    /// A node holds it, or has ended without another one that took it over. `is_final` if nothing
    /// was sent to it since then.
    Kept { owner: u64, session: MovedSession, is_final: bool },
    /// It has ended. An older record that comes late is not kept in place of this one.
    Ended { generation: u64 },
}

/// A session, as another node needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MovedSession {
    /// The number of its last record: see [`Generation`](super::generation::Generation).
    pub(crate) generation: u64,
    pub(crate) namespace: Arc<str>,
    pub(crate) id: Arc<str>,
    pub(crate) user: Option<String>,
    pub(crate) rooms: Vec<Arc<str>>,
    /// The names and the JSON of those that are kept.
    pub(crate) attributes: Vec<(Arc<str>, String)>,
    pub(crate) log: LogState,
}

/// A [`SentLog`](super::sent_log::SentLog).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogState {
    pub(crate) rooms: Vec<RoomState>,
    /// The rooms and epochs of `sent`.
    pub(crate) epochs: Vec<(Arc<str>, u64)>,
    /// For each message the place of its epoch, if a history has it, and its number.
    pub(crate) sent: Vec<(Option<usize>, u64)>,
    pub(crate) complete: bool,
    pub(crate) lost: bool,
}

/// A room with a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoomState {
    pub(crate) room: Arc<str>,
    pub(crate) before: Option<Position>,
    pub(crate) last: Option<Position>,
    pub(crate) from: Option<Position>,
}

impl SessionRecord {
    /// Its number; `None` if it has that of the record before.
    pub(crate) const fn generation(&self) -> Option<u64> {
        match self {
            Self::Claimed(_) => None,
            Self::Held { generation, .. } | Self::Ended { generation } => Some(*generation),
            Self::Kept { session, .. } => Some(session.generation),
        }
    }

    /// `None` if it is too long.
    pub(crate) fn encode(&self) -> Option<Bytes> {
        let mut bytes = vec![VERSION];
        serde_json::to_writer(&mut bytes, self).ok()?;
        (bytes.len() <= MAX_RECORD).then(|| bytes.into())
    }

    /// `None` if the bytes are something else, or of another version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let json = bytes.strip_prefix(&[VERSION]).filter(|_| bytes.len() <= MAX_RECORD)?;
        let record: Self = serde_json::from_slice(json).ok()?;
        if let Self::Kept { session, .. } = &record
            && !session.log.is_valid()
        {
            return None;
        }
        Some(record)
    }
}

impl LogState {
    fn is_valid(&self) -> bool {
        let is_known =
            |(epoch, _): &(Option<usize>, u64)| epoch.is_none_or(|at| at < self.epochs.len());
        self.sent.len() <= MAX_SENT && self.sent.iter().all(is_known)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = Option<Position>> {
        let position = |(epoch, offset)| Position { epoch, offset };
        proptest::option::of(any::<(u64, u64)>().prop_map(position))
    }

    fn log() -> impl Strategy<Value = LogState> {
        let text = || any::<String>().prop_map(Arc::from);
        let room = (text(), position(), position(), position())
            .prop_map(|(room, before, last, from)| RoomState { room, before, last, from });
        let rooms = proptest::collection::vec(room, 0..4);
        let sent =
            proptest::collection::vec((proptest::option::of(0..3_usize), any::<u64>()), 0..9);
        (rooms, sent, any::<[u64; 3]>(), text(), any::<(bool, bool)>()).prop_map(
            |(rooms, sent, epochs, name, (complete, lost))| {
                let epochs = epochs.map(|epoch| (Arc::clone(&name), epoch)).to_vec();
                LogState { rooms, epochs, sent, complete, lost }
            },
        )
    }

    fn record() -> impl Strategy<Value = SessionRecord> {
        let text = || any::<String>().prop_map(Arc::<str>::from);
        let attributes = proptest::collection::vec((text(), any::<String>()), 0..3);
        let names =
            (text(), text(), any::<Option<String>>(), proptest::collection::vec(text(), 0..4));
        prop_oneof![
            any::<u64>().prop_map(SessionRecord::Claimed),
            any::<(u64, u64)>()
                .prop_map(|(owner, generation)| SessionRecord::Held { owner, generation }),
            any::<u64>().prop_map(|generation| SessionRecord::Ended { generation }),
            (any::<(u64, u64)>(), names, attributes, log()).prop_map(
                |((owner, generation), (namespace, id, user, rooms), attributes, log)| {
                    let session =
                        MovedSession { generation, namespace, id, user, rooms, attributes, log };
                    SessionRecord::Kept { owner, session, is_final: owner % 2 == 0 }
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in record()) {
            let bytes = record.encode().unwrap();
            prop_assert_eq!(SessionRecord::decode(&bytes), Some(record));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(
            record in record(),
            changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
            cut in any::<usize>(),
            others in proptest::collection::vec(any::<u8>(), 0..99),
        ) {
            let _ = SessionRecord::decode(&others);
            let mut bytes = record.encode().unwrap().to_vec();
            let len = bytes.len();
            for (at, byte) in changes {
                bytes[at % len] = byte;
            }
            // What it is read as has a log that can be used.
            if let Some(SessionRecord::Kept { session, .. }) = SessionRecord::decode(&bytes) {
                prop_assert!(session.log.is_valid());
            }
            bytes.truncate(cut % len);
            let _ = SessionRecord::decode(&bytes);
        }
    }

    #[test]
    fn a_record_has_one_version_a_bound_and_a_log_that_can_be_used() {
        let kept = |session| SessionRecord::Kept { owner: 7, session, is_final: true };
        let of = |id: usize| MovedSession { id: "x".repeat(id).into(), ..MovedSession::default() };
        let empty = kept(of(0)).encode().unwrap();
        assert!(SessionRecord::decode(&empty).is_some());
        let fits = kept(of(MAX_RECORD - empty.len()));
        assert_eq!(fits.encode().map(|bytes| bytes.len()), Some(MAX_RECORD));
        assert_eq!(kept(of(MAX_RECORD - empty.len() + 1)).encode(), None);
        let mut long = empty.to_vec();
        long.resize(MAX_RECORD + 1, b' ');
        assert_eq!(SessionRecord::decode(&long), None);
        let mut other = empty.to_vec();
        other[0] = VERSION + 1;
        assert_eq!(SessionRecord::decode(&other), None);
        let sent = |sent| {
            let epochs = vec![("room".into(), 1)];
            kept(MovedSession { log: LogState { sent, epochs, ..LogState::default() }, ..of(0) })
        };
        for (log, is_valid) in [
            (vec![(Some(0), 1), (None, 2)], true),
            (vec![(Some(1), 1)], false),
            (vec![(None, 1); MAX_SENT], true),
            (vec![(None, 1); MAX_SENT + 1], false),
        ] {
            let bytes = sent(log).encode().unwrap();
            assert_eq!(SessionRecord::decode(&bytes).is_some(), is_valid);
        }
    }
}
