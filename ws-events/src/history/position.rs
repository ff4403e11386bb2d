//! How is a message of a room named, so that a client can say what it has seen?

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A message in the history of a room: the room's messages are numbered from 1.
///
/// As text, it is `epoch-offset`: 16 hexadecimal digits and a decimal number. It is serialised as
/// this text, since JavaScript has no integers of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which numbering the offset belongs to. A room gets a new epoch when its history was lost, so
    /// an old position never names a new message. Two rooms never have the same epoch.
    pub epoch: u64,
    /// The number of the message; 0 is before the first one.
    pub offset: u64,
}

/// A text that is no [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is 16 hexadecimal digits, `-`, and a decimal number")]
pub struct PositionParseError;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = PositionParseError;

    /// Takes only what [`Display`](fmt::Display) writes, so a position has one text.
    fn from_str(text: &str) -> Result<Self, PositionParseError> {
        let (epoch, offset) = text.split_once('-').ok_or(PositionParseError)?;
        let position = Self {
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| PositionParseError)?,
            offset: offset.parse().map_err(|_| PositionParseError)?,
        };
        if position.to_string() == text { Ok(position) } else { Err(PositionParseError) }
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(u64, u64)>) {
        let position = text.parse::<Position>().ok();
        assert_eq!(position.map(|it| (it.epoch, it.offset)), expected, "{text}");
        if let Some(position) = position {
            assert_eq!(position.to_string(), text);
            let json = serde_json::to_string(&position).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
        }
    }

    #[test]
    fn a_position_has_one_text() {
        check("00000000000000ff-7", Some((255, 7)));
        check("0000000000000000-0", Some((0, 0)));
        check("ffffffffffffffff-18446744073709551615", Some((u64::MAX, u64::MAX)));
        for text in [
            "",
            "-",
            "ff-7",
            "00000000000000FF-7",
            "+0000000000000ff-7",
            "00000000000000ff-+7",
            "00000000000000ff-07",
            "00000000000000ff-",
            "00000000000000ff--7",
            "00000000000000ff 7",
            "00000000000000ff-18446744073709551616",
            "1ffffffffffffffff-1",
        ] {
            check(text, None);
        }
    }
}
