//! What do the scripts of a history get, and what do they answer and publish?

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};
use ws_events::broker::stable_hash;
use ws_events::{History, HistoryError, HistoryPage, Position};

use crate::name::{RedisName, ServerState};

/// The channels of a history. A room belongs to one of them.
const CHANNELS: usize = 64;

/// The longest age, in milliseconds: a hundred years. Redis refuses ages without end.
const MAX_AGE: u128 = 100 * 365 * 24 * 60 * 60 * 1000;

/// The scripts, in the order of `SCRIPTS`.
const APPEND: usize = 0;
const POSITION: usize = 1;
const READ: usize = 2;
const TRIM: usize = 3;

/// What the driver subscribes to, and asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HistoryName {
    /// Records and positions of some rooms.
    Channel(Arc<str>),
    /// A record is appended to a room, and published.
    Append(RoomKey, AppendLimits),
    /// The position of a room is published.
    Position(RoomKey),
}

/// A room in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RoomKey {
    pub(crate) channel: Arc<str>,
    pub(crate) key: Arc<str>,
}

/// The limits of a room, for a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AppendLimits {
    messages: usize,
    bytes: usize,
    millis: u64,
}

impl AppendLimits {
    pub(crate) fn of(limits: &History) -> Self {
        let millis = limits.max_age().as_millis().min(MAX_AGE);
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        Self { messages: limits.max_messages(), bytes: limits.max_bytes(), millis }
    }
}

impl RedisName for HistoryName {
    const SCRIPTS: &'static [&'static str] = &[
        concat!(include_str!("open.lua"), include_str!("append.lua")),
        concat!(include_str!("open.lua"), include_str!("position.lua")),
        concat!(include_str!("open.lua"), include_str!("read.lua")),
        concat!(include_str!("open.lua"), include_str!("trim.lua")),
    ];

    fn channel(&self) -> &str {
        match self {
            Self::Channel(channel) => channel,
            Self::Append(room, _) | Self::Position(room) => &room.channel,
        }
    }

    fn receipt(&self) -> Option<u64> {
        match self {
            Self::Append(..) => Some(APPEND as u64),
            Self::Channel(_) | Self::Position(_) => None,
        }
    }

    fn publish(
        &self,
        pipeline: &mut Pipeline,
        command: &str,
        server: &ServerState,
        envelope: &[u8],
    ) {
        match self {
            Self::Channel(channel) => {
                pipeline.cmd(command).arg(&**channel).arg(envelope);
            }
            Self::Append(room, AppendLimits { messages, bytes, millis }) => {
                let mut append = room.call(server, APPEND);
                append.arg(command).arg(&*room.channel).arg(&*room.key);
                append.arg(*messages).arg(*bytes).arg(*millis).arg(envelope);
                pipeline.add_command(append);
            }
            Self::Position(room) => {
                let mut position = room.call(server, POSITION);
                position.arg(command).arg(&*room.channel).arg(&*room.key);
                pipeline.add_command(position);
            }
        }
    }
}

/// The names of the channels.
pub(crate) fn channels(prefix: &str) -> impl Iterator<Item = Arc<str>> {
    // In a Redis Cluster, what is in braces decides which server has the channel and its rooms.
    (0..CHANNELS).map(move |number| Arc::from(format!("{prefix}:{{h{number}}}")))
}

impl RoomKey {
    /// A room, with the channel among these that it belongs to.
    pub(crate) fn new(channels: &[Arc<str>], key: Arc<str>) -> Self {
        let at = usize::try_from(stable_hash(key.bytes()) % CHANNELS as u64).unwrap_or(0);
        let channel = channels.get(at).cloned().unwrap_or_else(|| Arc::from(""));
        Self { channel, key }
    }

    fn call(&self, server: &ServerState, script: usize) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(server.scripts.get(script).map_or("", String::as_str)).arg(2);
        call.arg(format!("{}:s:{}", self.channel, self.key));
        call.arg(format!("{}:m:{}", self.channel, self.key));
        call.arg(&server.run_id);
        call
    }

    /// Reads what is behind a position, or the newest records.
    pub(crate) fn read(&self, server: &ServerState, since: Option<Position>, most: usize) -> Cmd {
        let mut read = self.call(server, READ);
        // Redis takes signed numbers.
        read.arg(i64::try_from(most).unwrap_or(i64::MAX));
        if let Some(position) = since {
            read.arg(epoch(position)).arg(position.offset);
        }
        read
    }

    pub(crate) fn trim(&self, server: &ServerState, through: Position) -> Cmd {
        let mut trim = self.call(server, TRIM);
        trim.arg(epoch(through)).arg(through.offset);
        trim
    }
}

fn epoch(position: Position) -> String {
    format!("{:016x}", position.epoch)
}

/// The answer to [`RoomKey::read`].
pub(crate) fn parse_page(answer: &Value, newest_first: bool) -> Result<HistoryPage, HistoryError> {
    let malformed = || HistoryError::Unavailable("Redis has answered something else".into());
    let Value::Array(parts) = answer else { return Err(malformed()) };
    match (parts.first().and_then(text), parts.get(1..)) {
        (Some("unknown"), _) => Err(HistoryError::UnknownPosition),
        (Some("trimmed"), _) => Err(HistoryError::Trimmed),
        (Some("page"), Some([epoch, last, Value::Array(entries)])) => {
            let epoch = text(epoch).and_then(parse_epoch).ok_or_else(malformed)?;
            let last = text(last).and_then(|last| last.parse().ok()).ok_or_else(malformed)?;
            let record = |entry| parse_entry(epoch, entry);
            let records = entries.iter().map(record).collect::<Option<Vec<_>>>();
            let mut records = records.ok_or_else(malformed)?;
            if newest_first {
                records.reverse();
            }
            Ok(HistoryPage { records, last: Position { epoch, offset: last } })
        }
        _ => Err(malformed()),
    }
}

/// An entry of a stream: its id, and the only field.
fn parse_entry(epoch: u64, entry: &Value) -> Option<(Position, Bytes)> {
    let Value::Array(entry) = entry else { return None };
    let [id, Value::Array(fields)] = entry.as_slice() else { return None };
    let [_, Value::BulkString(record)] = fields.as_slice() else { return None };
    let (offset, _) = text(id)?.split_once('-')?;
    Some((Position { epoch, offset: offset.parse().ok()? }, Bytes::copy_from_slice(record)))
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn parse_epoch(text: &str) -> Option<u64> {
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { u64::from_str_radix(text, 16).ok() } else { None }
}

/// What a script has published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) key: Arc<str>,
    pub(crate) position: Position,
    /// `None`: only the position.
    pub(crate) record: Option<Bytes>,
}

impl Published {
    /// `None` if the bytes are something else.
    pub(crate) fn parse(message: &Bytes) -> Option<Self> {
        let (kind, rest) = message.split_first()?;
        let (epoch, rest) = rest.split_at_checked(16)?;
        let epoch = std::str::from_utf8(epoch).ok().and_then(parse_epoch)?;
        let (offset, rest) = take_number(rest)?;
        let (len, rest) = take_number(rest)?;
        let (key, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        let key = Arc::from(std::str::from_utf8(key).ok()?);
        let record = match kind {
            b'r' => Some(message.slice_ref(rest)),
            b'p' if rest.is_empty() => None,
            _ => return None,
        };
        Some(Self { key, position: Position { epoch, offset }, record })
    }
}

/// A decimal number, and what is behind the space that follows it.
fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    let (digits, rest) = bytes.split_at_checked(end)?;
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some((number, rest.get(1..)?))
}

/// How long a request may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_room_has_the_same_channel_in_all_processes_and_versions() {
        let channels: Vec<_> = channels("ws").collect();
        let channel = |room: &str| RoomKey::new(&channels, Arc::from(room)).channel.to_string();
        assert_eq!(["/ lobby", "/ news"].map(channel), ["ws:{h33}", "ws:{h49}"]);
        let used: HashSet<_> = (0..1000).map(|room| channel(&format!("room{room}"))).collect();
        assert_eq!(used.len(), CHANNELS);
    }

    #[test]
    fn what_a_script_publishes_is_read_and_other_bytes_are_refused() {
        let position = Position { epoch: 255, offset: 7 };
        for (message, expected) in [
            ("r00000000000000ff7 3 redr1", Some(("red", Some("r1")))),
            ("r00000000000000ff7 0 ", Some(("", Some("")))),
            ("p00000000000000ff7 5 a b c", Some(("a b c", None))),
            ("p00000000000000ff7 3 redx", None),
            ("x00000000000000ff7 3 red", None),
            ("r00000000000000ff7 4 red", None),
            ("r00000000000000ff7 -1 red", None),
            ("r00000000000000ff7 18446744073709551615 red", None),
            ("r00000000000000ff18446744073709551616 3 red", None),
            ("r+0000000000000ff7 3 red", None),
            ("r00000000000000ff 3 red", None),
            ("r00000000000000ff7", None),
            ("r", None),
            ("", None),
        ] {
            let expected = expected.map(|(key, record): (&str, Option<&str>)| Published {
                key: Arc::from(key),
                position,
                record: record.map(|record| Bytes::copy_from_slice(record.as_bytes())),
            });
            assert_eq!(Published::parse(&message.into()), expected, "{message:?}");
        }
    }

    #[test]
    fn another_answer_than_a_page_is_an_error() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let entry =
            |id: &str| Value::Array(vec![bulk(id), Value::Array(vec![bulk("r"), bulk("one")])]);
        let page = |epoch: &str, last: &str, entries: Value| {
            Value::Array(vec![bulk("page"), bulk(epoch), bulk(last), entries])
        };
        let epoch = "000000000000000a";
        let entries = Value::Array(vec![entry("2-9"), entry("1-9")]);
        let got = parse_page(&page(epoch, "2", entries), true).unwrap();
        let at = |offset| Position { epoch: 10, offset };
        assert_eq!(got.records.iter().map(|it| it.0).collect::<Vec<_>>(), [at(1), at(2)]);
        assert_eq!(got.last, at(2));
        for (answer, unknown) in [
            (Value::Array(vec![bulk("unknown")]), true),
            (Value::Array(vec![]), false),
            (Value::Nil, false),
            (page("a", "2", Value::Array(vec![])), false),
            (page(epoch, "x", Value::Array(vec![])), false),
            (page(epoch, "2", Value::Nil), false),
            (page(epoch, "2", Value::Array(vec![entry("x")])), false),
            (page(epoch, "2", Value::Array(vec![bulk("x")])), false),
        ] {
            let error = parse_page(&answer, false).unwrap_err();
            assert_eq!(error == HistoryError::UnknownPosition, unknown, "{answer:?}");
            assert_eq!(matches!(error, HistoryError::Unavailable(_)), !unknown, "{answer:?}");
        }
    }
}
