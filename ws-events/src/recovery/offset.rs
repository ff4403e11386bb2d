//! How is a message named that was sent to a socket whose session can be recovered?

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::history::position::Position;

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
}

#[cfg(test)]
mod tests {
    use super::*;

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
