//! Does the other end hear what this one says, and nothing else?

use std::io::IoSlice;

use bytes::Bytes;
use ws_core::proto::{CloseFrame, Event, Outbound, Queue, Role, Then};
use ws_core::{Compression, Config, Limits, Message, MessageType, StatusCode};

use crate::Input;
use crate::inbound::{End, Heard, Taking, params};

/// When so many bytes have been said, it is enough.
const MOST_SAID: usize = 256 * 1024;

/// Pongs may replace each other when more than this waits.
const MAX_WAITING_PONGS: usize = 4 * 1024;

/// See the module.
///
/// # Panics
///
/// When a promise is broken.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (role, other) =
        input.pick(&[(Role::Client, Role::Server), (Role::Server, Role::Client)]);
    let config = config(&mut input);
    let compression = params(&mut input);
    let taking = Taking::read(&mut input);
    let slices = input.size().clamp(1, 64);

    let mut speaker = Speaker {
        outbound: Outbound::new(role, &config, compression),
        slices,
        wire: Vec::new(),
        said: Said::default(),
    };
    while !input.rest().is_empty() && speaker.said.bytes < MOST_SAID {
        speaker.act(&mut input);
    }
    speaker.drain();

    let limits = Limits::new().no_message_size().fragments(usize::MAX);
    let listener = End { role: other, compression, limits, message_size: None };
    speaker.said.compare(&listener.receive(&speaker.wire, taking.without_discard()));
}

fn config(input: &mut Input<'_>) -> Config {
    let (flags, levels) = (input.byte(), input.byte());
    let compression = match flags & 1 {
        0 => Compression::no_context_takeover(),
        _ => Compression::context_takeover(),
    };
    let compression = compression
        .level(levels % 10)
        .window_bits(8 + flags / 2 % 8)
        .threshold(input.pick(&[0, 1, 100]));
    let config = Config::new().compression(compression);
    match input.size() {
        0 => config,
        // Small fragments of long messages would be all that is tried.
        size => config.fragment_size(size + usize::from(levels)),
    }
}

/// What was said, and is to be heard.
#[derive(Default)]
struct Said {
    messages: Vec<Message>,
    pings: Vec<Bytes>,
    pongs: Vec<Bytes>,
    close: Option<CloseFrame>,
    /// Did the close frame overtake messages?
    hurried: bool,
    /// May pongs have been replaced?
    crowded: bool,
    stream: Option<Stream>,
    bytes: usize,
}

/// A message that is said piece by piece.
struct Stream {
    kind: MessageType,
    payload: Vec<u8>,
    said: usize,
    flushed: usize,
}

struct Speaker {
    outbound: Outbound,
    /// How many slices are written at once.
    slices: usize,
    wire: Vec<u8>,
    said: Said,
}

impl Speaker {
    fn act(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0..=3 => self.message(input),
            4..=6 => self.piece(input),
            7 | 8 => self.ping(input),
            9 | 10 => self.pong(input),
            11..=13 => self.write(input.size()),
            14 => self.close(input),
            _ => self.outbound.hurry_close_if(&mut self.said),
        }
    }
}
