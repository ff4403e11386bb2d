//! What does a client of the floods send?

use crate::protocol::deflated;
use crate::serve::Use;
use crate::wire::frame;

/// What each client sends as fast as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Flood {
    /// Nothing: the reference.
    Idle,
    EmptyPongs,
    EmptyPings,
    FullPings,
    EmptyFragments,
    ShortFragments,
    EmptyMessages,
    ShortMessages,
    LongMessages,
    LargeMessages,
    CompressedMessages,
    /// Messages as large as the limit, in 1 KiB.
    Bombs,
    /// Messages of 125 B, as many bytes per second as asked for: the reference.
    Echo,
}

impl Flood {
    pub(crate) const ALL: [Self; 11] = [
        Self::EmptyPongs,
        Self::EmptyPings,
        Self::FullPings,
        Self::EmptyFragments,
        Self::ShortFragments,
        Self::EmptyMessages,
        Self::ShortMessages,
        Self::LongMessages,
        Self::LargeMessages,
        Self::CompressedMessages,
        Self::Bombs,
    ];

    /// Those that are also sent by HTTP long-polling.
    pub(crate) const POSTS: [Self; 5] = [
        Self::Idle,
        Self::EmptyMessages,
        Self::ShortMessages,
        Self::LongMessages,
        Self::LargeMessages,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Idle => "no flood",
            Self::EmptyPongs => "empty pongs",
            Self::EmptyPings => "empty pings",
            Self::FullPings => "pings of 125 B",
            Self::EmptyFragments => "empty fragments",
            Self::ShortFragments => "fragments of 1 B",
            Self::EmptyMessages => "empty messages",
            Self::ShortMessages => "messages of 1 B",
            Self::LongMessages => "messages of 64 KiB",
            Self::LargeMessages => "messages of 1 MiB",
            Self::CompressedMessages => "compressed messages of 16 KiB",
            Self::Bombs => "bombs of 1 MiB",
            Self::Echo => "echoes of 125 B at the byte rate of empty pongs",
        }
    }

    /// The bound of what the server allocates, and of its resident memory, in MiB: a connection holds one message that it
    /// receives, and one that it sends, and the thread keeps 8 MiB of freed buffers
    /// (`Limits::message_size`).
    pub(crate) const fn memory(self) -> i64 {
        match self {
            Self::LargeMessages => 8 + 2 * 32 + 8,
            Self::CompressedMessages => 8 + CONTEXTS,
            // What was sent last is kept twice if it was compressed.
            Self::Bombs => 8 + 3 * 32 + 8 + CONTEXTS,
            // With what the process needs once.
            Self::Idle => 16,
            _ => 8,
        }
    }

    /// The same of sessions of Socket.IO that get POSTs, whose messages are not all handled: two bodies,
    /// two packets that are decoded, the one of a handler, and 64 KiB of others
    /// (`EngineConfig::max_sessions`). hyper reads up to 400 KiB of a body at once.
    pub(crate) const fn post_memory(self) -> i64 {
        let kib = match self {
            Self::LongMessages => 5 * 64 + 64 + 64,
            Self::LargeMessages => 5 * POST_LEN as i64 / 1024 + 64 + 400,
            _ => return self.memory(),
        };
        8 + 32 * kib / 1024
    }

    /// Whether the clients offer compression.
    pub(crate) const fn is_compressed(self) -> bool {
        matches!(self, Self::CompressedMessages | Self::Bombs)
    }

    /// The bytes per second of all clients in the short form, which a debug build can take.
    pub(crate) const fn short_rate(self) -> f64 {
        match self {
            Self::Bombs => 50_000.0,
            _ => 500_000.0,
        }
    }

    /// The same in the long form. What the buffers of TCP take of bombs keeps a hub busy for minutes, which
    /// does not answer them.
    pub(crate) const fn long_rate(self) -> Option<f64> {
        match self {
            Self::Bombs => Some(2_000_000.0),
            _ => None,
        }
    }

    /// At least 64 KiB of frames, which can be repeated.
    pub(crate) fn script(self, usage: Use) -> Vec<u8> {
        if usage == Use::HubSocketIo {
            return self.socketio_script();
        }
        let many = |frame: Vec<u8>| frame.repeat((64 * 1024 / frame.len()).max(1));
        // A message may have 131,072 fragments.
        let fragments = |payload: &[u8]| {
            let inner = frame(0x00, payload).repeat(8_000);
            [frame(0x02, payload), inner, frame(0x80, payload)].concat()
        };
        match self {
            Self::Idle => Vec::new(),
            Self::EmptyPongs => many(frame(0x8a, b"")),
            Self::EmptyPings => many(frame(0x89, b"")),
            Self::FullPings => many(frame(0x89, &[0; 125])),
            Self::EmptyFragments => fragments(b""),
            Self::ShortFragments => fragments(b"a"),
            Self::EmptyMessages => many(frame(0x82, b"")),
            Self::ShortMessages => many(frame(0x82, b"a")),
            Self::LongMessages => frame(0x82, &vec![0; 64 * 1024]),
            Self::LargeMessages => frame(0x82, &vec![0; 1024 * 1024]),
            Self::CompressedMessages => many(frame(0xc2, &deflated(records().as_bytes()))),
            Self::Bombs => many(frame(0xc2, &deflated(&vec![0; 1024 * 1024]))),
            Self::Echo => many(frame(0x82, &[0; 125])),
        }
    }

    /// The same for Socket.IO: a short message is a packet that means nothing, or an event.
    fn socketio_script(self) -> Vec<u8> {
        let text = |text: &str| frame(0x81, text.as_bytes());
        let many = |frame: Vec<u8>| frame.repeat(64 * 1024 / frame.len());
        let event = |len| text(&format!("42[\"x\",\"{}\"]", "a".repeat(len)));
        match self {
            Self::EmptyFragments => {
                [frame(0x01, b"6"), frame(0x00, b"").repeat(8_000), frame(0x80, b"")].concat()
            }
            Self::ShortFragments => {
                let inner = frame(0x00, b"a").repeat(8_000);
                [frame(0x01, b"42[\"x\",\""), inner, frame(0x80, b"\"]")].concat()
            }
            Self::EmptyMessages => many(text("6")),
            Self::ShortMessages => many(text("42[\"x\"]")),
            Self::LongMessages => event(64 * 1024),
            Self::LargeMessages => event(1024 * 1024 - "42[\"x\",\"\"]".len()),
            Self::CompressedMessages => {
                let event = serde_json::json!(["x", records()]);
                many(frame(0xc1, &deflated(format!("42{event}").as_bytes())))
            }
            Self::Bombs => {
                let event =
                    format!("42[\"x\",\"{}\"]", "a".repeat(1024 * 1024 - "42[\"x\",\"\"]".len()));
                many(frame(0xc1, &deflated(event.as_bytes())))
            }
            Self::Idle | Self::EmptyPongs | Self::EmptyPings | Self::FullPings | Self::Echo => {
                self.script(Use::Echo)
            }
        }
    }

    /// The body of a POST: as many short packets as it may have, or one event.
    pub(crate) fn body(self) -> Option<String> {
        let event = |len| format!("42[\"x\",\"{}\"]", "a".repeat(len));
        match self {
            Self::Idle => None,
            Self::EmptyMessages => Some("6".to_owned()),
            Self::ShortMessages => Some(vec!["42[\"x\"]"; 1_000].join("\u{1e}")),
            Self::LongMessages => Some(event(64 * 1024)),
            _ => Some(event(POST_LEN)),
        }
    }
}

/// The longest text of an event in a POST: a body has at most 1,000,000 B.
const POST_LEN: usize = 900_000;

/// With context takeover, what 32 connections hold to compress and to decompress, in MiB: 419 KiB each.
const CONTEXTS: i64 = 14;

/// 16 KiB of text that compresses as JSON does.
fn records() -> String {
    let mut text = String::new();
    let mut id = 1_u32;
    while text.len() < 16 * 1024 {
        id = id.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text += &format!("{{'id':{id},'name':'item'}},");
    }
    text.truncate(16 * 1024);
    text
}
