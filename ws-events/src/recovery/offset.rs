//! How is a message named that was sent to a socket whose session can be recovered?

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::history::position::Position;

/// Between the offsets of several rooms, in the text that a client of Socket.IO remembers.
pub(crate) const SEPARATOR: char = ',';

/// The most rooms whose offsets are in one text.
pub(crate) const MAX_ROOM_OFFSETS: usize = 100;

/// The most bytes of an offset of a room, with the separator behind it.
pub(crate) const MAX_ROOM_OFFSET: usize = 38;

/// The longest text with offsets, in bytes.
pub(crate) const MAX_OFFSETS: usize = 4096;

/// The name of a message, for the client. It is the same for all recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentOffset {
    /// A message in the history of a room: its position.
    Stored(Position),
    /// Another message: its number in the hub. As text, `p` and the number.
    Plain(u64),
}

impl fmt::Display for SentOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored(position) => position.fmt(f),
            Self::Plain(number) => write!(f, "p{number}"),
        }
    }
}

impl FromStr for SentOffset {
    type Err = ();

    /// Takes only what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, ()> {
        let Some(digits) = text.strip_prefix('p') else {
            return text.parse().map(Self::Stored).map_err(|_| ());
        };
        let offset = Self::Plain(digits.parse().map_err(|_| ())?);
        if offset.to_string() == text { Ok(offset) } else { Err(()) }
    }
}

/// What a client says that it has. It may be forged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientOffsets {
    /// The last message of all.
    pub(crate) last: Option<SentOffset>,
    /// The last messages of rooms.
    pub(crate) rooms: Vec<Position>,
    /// It has nothing of other rooms since its session began, or was recovered.
    pub(crate) is_complete: bool,
}

impl ClientOffsets {
    /// `None` if one is malformed.
    pub(crate) fn parse<'a>(
        texts: impl Iterator<Item = &'a str>,
        is_complete: bool,
    ) -> Option<Self> {
        let offsets: Vec<SentOffset> = texts.map(str::parse).collect::<Result<_, ()>>().ok()?;
        let stored = |offset: &SentOffset| match offset {
            SentOffset::Stored(position) => Some(*position),
            SentOffset::Plain(_) => None,
        };
        let rooms = offsets.iter().filter_map(stored).collect();
        let is_complete = is_complete || offsets.is_empty();
        Some(Self { last: offsets.last().copied(), rooms, is_complete })
    }

    /// What it has of the room with this epoch, at least the message with this number.
    pub(crate) fn of_room(&self, from: Position) -> Option<Position> {
        let own = self.rooms.iter().filter(|position| position.epoch == from.epoch);
        match own.map(|position| position.offset).max() {
            Some(offset) => Some(Position { offset: offset.max(from.offset), ..from }),
            None => self.is_complete.then_some(from),
        }
    }
}

/// A message that is sent to sockets whose sessions can be recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SentMessage {
    /// The room that has it in its history.
    pub(crate) room: Option<Arc<str>>,
    pub(crate) offset: SentOffset,
}

impl SentMessage {
    pub(crate) const fn plain(number: u64) -> Self {
        Self { room: None, offset: SentOffset::Plain(number) }
    }

    pub(crate) const fn stored(room: Arc<str>, position: Position) -> Self {
        Self { room: Some(room), offset: SentOffset::Stored(position) }
    }

    /// Whether a history has it, so that it can be read there again.
    pub(crate) const fn is_stored(&self) -> bool {
        matches!(self.offset, SentOffset::Stored(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_has_of_a_room_is_known_or_not() {
        let from = Position { epoch: 10, offset: 3 };
        // What it says, whether that is all → the offset in the room.
        for (texts, is_complete, expected) in [
            (&[][..], false, Some(3)),
            (&["000000000000000a-5"], false, Some(5)),
            (&["000000000000000a-2"], false, Some(3)),
            (&["000000000000000a-7", "000000000000000a-5", "p1"], true, Some(7)),
            (&["000000000000000b-5"], false, None),
            (&["p1"], false, None),
            (&["000000000000000b-5"], true, Some(3)),
            (&["p1"], true, Some(3)),
        ] {
            let offsets = ClientOffsets::parse(texts.iter().copied(), is_complete).unwrap();
            assert_eq!(offsets.last.map(|it| it.to_string()).as_deref(), texts.last().copied());
            let got = offsets.of_room(from).map(|position| position.offset);
            assert_eq!(got, expected, "{texts:?} {is_complete}");
        }
        assert_eq!(ClientOffsets::parse(["p1", "x"].into_iter(), true), None);
    }

    #[test]
    fn an_offset_has_one_text() {
        let position = Position { epoch: 10, offset: 3 };
        for (text, expected) in [
            ("p0", Some(SentOffset::Plain(0))),
            ("p18446744073709551615", Some(SentOffset::Plain(u64::MAX))),
            ("000000000000000a-3", Some(SentOffset::Stored(position))),
            ("", None),
            ("p", None),
            ("p+1", None),
            ("p01", None),
            ("P1", None),
            ("1", None),
            ("a-3", None),
            ("p18446744073709551616", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
            if let Some(offset) = expected {
                assert_eq!(offset.to_string(), text);
            }
        }
    }
}
