//! Does the receiving half decode exactly what the sending half encoded?

use std::io::IoSlice;

use bytes::Bytes;
use ws_core::proto::{CloseFrame, Outbound, PieceKind, ProtocolEvent, Role};
use ws_core::{Compression, Config, Limits, Message, MessageType, StatusCode};

use crate::Input;
use crate::inbound::{End, Heard, Taking, params};

/// The number of bytes to send before stopping.
const MOST_SAID: usize = 256 * 1024;

/// Pongs may replace each other when more bytes wait.
const MAX_WAITING_PONGS: usize = 4 * 1024;

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (role, other) = input.pick(&[(Role::Client, Role::Server), (Role::Server, Role::Client)]);
    let config = config(&mut input);
    let compression = params(&mut input);
    let taking = Taking::read(&mut input).keeping_all();
    let slices = input.size().clamp(1, 64);

    let outbound = Outbound::new(role, &config, compression);
    let mut speaker = Speaker { outbound, slices, wire: Vec::new(), said: Said::default() };
    while !input.rest().is_empty() && speaker.said.bytes < MOST_SAID {
        speaker.act(&mut input);
    }
    let (wire, said) = speaker.finish();

    let limits = Limits::new().no_message_size().fragments(usize::MAX);
    let listener = End { role: other, compression, limits, message_size: None };
    said.compare(&listener.receive(&wire, taking));
}

fn config(input: &mut Input<'_>) -> Config {
    let (flags, level) = (input.byte(), input.byte());
    let compression = match flags & 1 {
        0 => Compression::no_context_takeover(),
        _ => Compression::context_takeover(),
    };
    let compression = compression.level(level % 10).window_bits(15 - flags / 2 % 8);
    let config = Config::new().compression(compression.threshold(input.pick(&[0, 1, 100])));
    match input.size() {
        0 => config,
        size => config.fragment_size(size),
    }
}

struct Speaker {
    outbound: Outbound,
    /// The number of slices per write.
    slices: usize,
    wire: Vec<u8>,
    said: Said,
}

/// What was sent and must be received.
#[derive(Default)]
struct Said {
    messages: Vec<Message>,
    pings: Vec<Bytes>,
    pongs: Vec<Bytes>,
    close: Option<CloseFrame>,
    stream: Option<SentStream>,
    /// The message that the close frame interrupted.
    cut: Option<SentStream>,
    /// The close frame overtook messages.
    hurried: bool,
    /// Pongs may have been replaced.
    crowded: bool,
    bytes: usize,
}

/// A message that is sent in pieces.
#[derive(Clone)]
struct SentStream {
    kind: MessageType,
    payload: Bytes,
    pushed: usize,
    flushed: usize,
}

impl Speaker {
    fn act(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0..=2 => self.message(input),
            3..=6 => self.piece(input),
            7 => self.ping(input),
            8 | 9 => self.pong(input),
            10..=12 => self.write(input.size()),
            13 => self.close(input, Outbound::close),
            14 => {
                self.said.hurried |= self.said.close.is_none();
                self.close(input, Outbound::fail);
            }
            _ => {
                self.said.hurried |= self.said.close.is_some();
                self.outbound.prioritize_close();
            }
        }
    }

    fn message(&mut self, input: &mut Input<'_>) {
        if self.outbound.is_streaming() {
            return;
        }
        let (kind, payload) = message(input);
        self.said.bytes += payload.len();
        let message = whole(kind, payload);
        let flags = input.byte();
        let as_it_is = flags & 3 == 0;
        let sent = if as_it_is { message.clone().uncompressed() } else { message.clone() };
        if flags & 4 == 0 || !self.message_past_the_queue(&sent, usize::from(flags / 8)) {
            self.outbound.message(sent);
        }
        if self.said.close.is_none() {
            self.said.messages.push(message);
        }
    }

    /// Sends a message directly if it need not be queued. The transport takes up to `taken` bytes.
    fn message_past_the_queue(&mut self, message: &Message, taken: usize) -> bool {
        let mut room = [0; 8 * 1024];
        let Some(frame) = self.outbound.encode_direct(message, &mut room) else { return false };
        let taken = taken.min(frame.len());
        self.wire.extend_from_slice(&frame[..taken]);
        self.outbound.direct_written(frame, taken);
        true
    }

    fn piece(&mut self, input: &mut Input<'_>) {
        if !self.outbound.is_streaming() {
            let (kind, payload) = message(input);
            self.said.bytes += payload.len();
            self.outbound.begin(kind, input.byte() & 3 != 0);
            self.said.stream = Some(SentStream { kind, payload, pushed: 0, flushed: 0 });
        }
        let Some(mut stream) = self.said.stream.take() else { return };
        let then = input.pick(&[PieceKind::More, PieceKind::Flush, PieceKind::End]);
        let size = if then == PieceKind::End { usize::MAX } else { input.size() };
        let rest = &stream.payload[stream.pushed..];
        let piece = &rest[..size.min(rest.len())];
        self.outbound.piece(piece, then).expect("the compressor works");
        stream.pushed += piece.len();
        if self.said.close.is_some() {
            self.said.stream = (then != PieceKind::End).then_some(stream);
            return;
        }
        match then {
            PieceKind::More => self.said.stream = Some(stream),
            PieceKind::Flush => {
                self.said.stream = Some(SentStream { flushed: stream.pushed, ..stream })
            }
            PieceKind::End => self.said.messages.push(whole(stream.kind, stream.payload)),
        }
    }

    fn ping(&mut self, input: &mut Input<'_>) {
        let payload = control(input);
        let sent = self.outbound.ping(&payload);
        assert_eq!(sent.is_ok(), payload.len() <= 125);
        if sent.is_ok() && self.said.close.is_none() {
            self.said.pings.push(payload);
        }
    }

    fn pong(&mut self, input: &mut Input<'_>) {
        let payload = control(input);
        self.said.crowded |= self.outbound.buffered() > MAX_WAITING_PONGS;
        let sent = self.outbound.pong(payload.clone());
        assert_eq!(sent.is_ok(), payload.len() <= 125);
        if sent.is_ok() && self.said.close.is_none() {
            self.said.pongs.push(payload);
        }
    }

    fn close(&mut self, input: &mut Input<'_>, close: impl Fn(&mut Outbound, CloseFrame)) {
        let code = input.pick(&[1000, 1002, 1005, 4999]);
        let code = StatusCode::from_u16(code).expect("a close code");
        let size = input.size();
        let reason = String::from_utf8_lossy(input.take(size));
        let frame = CloseFrame::new(code, &reason).or_else(|_| CloseFrame::new(code, ""));
        let frame = frame.expect("a code without a reason can be sent");
        close(&mut self.outbound, frame.clone());
        if self.said.close.is_none() {
            self.said.cut.clone_from(&self.said.stream);
        }
        let frame = self.said.close.get_or_insert(frame);
        assert_eq!(self.outbound.close_frame(), Some(&*frame));
    }

    /// The transport takes up to `count` bytes.
    fn write(&mut self, count: usize) {
        let written = write(&self.outbound, self.slices, count, &mut self.wire);
        self.outbound.advance(written);
    }

    /// The transport takes the rest.
    fn finish(mut self) -> (Vec<u8>, Said) {
        while !self.outbound.is_empty() {
            self.write(10_000);
        }
        assert!(self.outbound.is_empty());
        (self.wire, self.said)
    }
}

impl Said {
    fn compare(self, heard: &Heard) {
        assert_eq!(heard.fault, None);
        assert_eq!(heard.ignored, 0, "something comes behind the close frame");
        let mut messages = self.messages.iter();
        let (mut pings, mut pongs) = (self.pings.iter(), self.pongs.iter());
        let (mut latest, mut close) = (None, None);
        for event in &heard.events {
            match event {
                ProtocolEvent::Message(message) => assert_eq!(messages.next(), Some(message)),
                ProtocolEvent::Ping(payload) => assert_eq!(pings.next(), Some(payload)),
                ProtocolEvent::Pong(payload) if self.crowded => {
                    latest = Some(payload);
                    assert!(pongs.any(|said| said == payload), "a pong that nobody said");
                }
                ProtocolEvent::Pong(payload) => assert_eq!(pongs.next(), Some(payload)),
                ProtocolEvent::Close(frame) => close = Some(frame.clone()),
            }
        }
        assert_eq!(close, self.close);
        assert_eq!(pings.next(), None, "a ping is lost");
        if !self.crowded {
            assert_eq!(pongs.next(), None, "a pong is lost");
        } else if close.is_none() {
            // A close frame may be sent before it.
            assert_eq!(latest, self.pongs.last(), "the latest pong is lost");
        }
        assert!(messages.next().is_none() || self.hurried, "a message is lost");
        let stream = if close.is_some() { self.cut } else { self.stream };
        if let Some(stream) = stream.filter(|_| !self.hurried) {
            assert!(heard.unfinished.len() >= stream.flushed, "a flush held bytes back");
            assert!(stream.payload.starts_with(&heard.unfinished));
        }
    }
}

/// A type and a payload of repeated input bytes.
fn message(input: &mut Input<'_>) -> (MessageType, Bytes) {
    let kind = input.pick(&[MessageType::Binary, MessageType::Text]);
    let len = input.size();
    let payload = input.pattern(len);
    match kind {
        MessageType::Text => (kind, String::from_utf8_lossy(&payload).into_owned().into()),
        MessageType::Binary => (kind, payload.into()),
    }
}

fn whole(kind: MessageType, payload: Bytes) -> Message {
    match kind {
        MessageType::Text => Message::text_from_bytes(payload).expect("text is UTF-8"),
        MessageType::Binary => Message::binary(payload),
    }
}

fn control(input: &mut Input<'_>) -> Bytes {
    let len = input.byte() % 130;
    let byte = input.byte();
    vec![byte; len.into()].into()
}

/// Writes like a transport that takes up to `count` bytes at a time.
fn write(outbound: &Outbound, slices: usize, count: usize, wire: &mut Vec<u8>) -> usize {
    let mut slices = vec![IoSlice::new(&[]); slices];
    let filled = outbound.slices(&mut slices);
    let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
    assert!(
        offered == outbound.buffered() || (filled == slices.len() && offered < outbound.buffered())
    );
    // An empty write would look like a closed transport.
    assert!(slices[..filled].iter().all(|slice| !slice.is_empty()), "an empty slice");
    let start = wire.len();
    for slice in &slices[..filled] {
        let room = start + count - wire.len();
        wire.extend_from_slice(&slice[..room.min(slice.len())]);
    }
    wire.len() - start
}
