//! Do the same bytes give the same events, however they are split and read?

use std::mem;

use bytes::BufMut;
use ws_core::deflate::Params;
use ws_core::proto::{Failure, Inbound, Mode, ProtocolEvent, Received, Role};
use ws_core::{Config, Limit, Limits, Message, MessageType, ProtocolError};

use crate::{Cuts, Input};

/// The longest incomplete frame: a control frame.
const MOST_WAITING: usize = 14 + 125;

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(role: Role, data: &[u8]) {
    let mut input = Input::new(data);
    let end = End::read(role, &mut input);
    let taking = Taking::read(&mut input);
    let wire = wire(input);

    let whole = end.receive(&wire, Taking::WHOLE);
    let pieces = end.receive(&wire, taking);
    let (one, other) = (whole.fault, pieces.fault);
    assert!(are_alike(one, other), "the cuts matter: {one:?}, {other:?}");
    if taking.discard {
        let mut kept = pieces.events.iter().peekable();
        let mut lost = whole.events.iter().filter(|event| kept.next_if_eq(event).is_none());
        assert!(
            lost.all(|event| matches!(event, ProtocolEvent::Message(_))),
            "not only messages are lost"
        );
        assert_eq!(kept.next(), None, "a message that was discarded changed another");
    } else {
        assert_eq!(whole.events, pieces.events, "the cuts matter");
        let (a, b) = (whole.unfinished, pieces.unfinished);
        assert!(a.starts_with(&b) || b.starts_with(&a), "the cuts matter");
    }
}

/// The rest of the input with zeros inserted, because an input is shorter than payloads that are
/// read directly.
fn wire(mut input: Input<'_>) -> Vec<u8> {
    let (at, zeros) = (input.size(), input.size());
    [input.take(at), &vec![0; zeros], input.rest()].concat()
}

/// Whether the split may change one result into the other. zlib reads ahead, so it may detect
/// corrupt data before an earlier failure is detected.
fn are_alike(one: Option<Failure>, other: Option<Failure>) -> bool {
    const DEFLATE: Option<Failure> = Some(Failure::Protocol(ProtocolError::Deflate));
    const TEXT: Option<Failure> = Some(Failure::Protocol(ProtocolError::TextNotUtf8));
    let is_in_front = |fault| {
        fault == TEXT || matches!(fault, Some(Failure::TooBig { setting: Limit::MessageSize, .. }))
    };
    one == other || (one == DEFLATE && is_in_front(other)) || (other == DEFLATE && is_in_front(one))
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Which end.
    pub role: Role,
    /// The negotiated compression.
    pub compression: Option<Params>,
    /// The limits.
    pub limits: Limits,
    /// The message size limit.
    pub message_size: Option<usize>,
}

/// How bytes are split and messages read.
#[derive(Clone, Copy, Debug)]
pub struct Taking {
    cuts: Cuts,
    /// Used in turn.
    modes: [Mode; 2],
    /// Long payloads are read straight into the message.
    direct: bool,
    /// Incomplete messages are discarded.
    discard: bool,
}

/// The received events.
#[derive(Debug, Default)]
pub struct Heard {
    /// In order, with messages reassembled.
    pub events: Vec<ProtocolEvent>,
    /// The end, if it was reached.
    pub fault: Option<Failure>,
    /// The number of bytes behind the close frame.
    pub ignored: usize,
    /// The received part of an incomplete message.
    pub unfinished: Vec<u8>,
    /// The length of its prefix that is valid text.
    text: usize,
}

impl End {
    fn read(role: Role, input: &mut Input<'_>) -> Self {
        let compression = params(input);
        let sizes = [Some(1 << 20), None, Some(1 << 16), Some(1000), Some(126), Some(5), Some(0)];
        let message_size = input.pick(&sizes);
        let mut limits = Limits::new().no_message_size();
        if let Some(size) = message_size {
            limits = limits.message_size(size);
        }
        if let Some(size) = input.pick(&[None, Some(1 << 16), Some(300), Some(125), Some(0)]) {
            limits = limits.frame_size(size);
        }
        limits = limits.fragments(input.pick(&[usize::MAX, 100, 2, 1, 0]));
        Self { role, compression, limits, message_size }
    }

    /// Receives `wire`.
    ///
    /// # Panics
    ///
    /// When a check of a single run fails.
    pub fn receive(&self, wire: &[u8], taking: Taking) -> Heard {
        let mut listener = Listener {
            inbound: Inbound::new(self.role, Config::new().limits(self.limits), self.compression),
            taking,
            message_size: self.message_size,
            waiting: Vec::new(),
            heard: Heard::default(),
        };
        if let Err(fault) = listener.read_all(wire) {
            listener.heard.fault = Some(fault);
            // Calls after a failure are useless but harmless.
            let _ = listener.inbound.receive(&mut listener.waiting, Mode::Whole);
        }
        listener.heard
    }
}

/// Any parameters, or none.
pub fn params(input: &mut Input<'_>) -> Option<Params> {
    let (flags, bits) = (input.byte(), input.byte());
    (flags & 1 != 0).then_some(Params {
        server_no_context_takeover: flags & 2 != 0,
        client_no_context_takeover: flags & 4 != 0,
        server_max_window_bits: 15 - bits % 8,
        client_max_window_bits: 15 - bits / 16 % 8,
    })
}

impl Taking {
    /// All at once.
    pub const WHOLE: Self =
        Self { cuts: Cuts::NONE, modes: [Mode::Whole; 2], direct: false, discard: false };

    /// Any way.
    pub fn read(input: &mut Input<'_>) -> Self {
        let flags = input.byte();
        let most = input.size().max(1);
        let pieces = Mode::Pieces(if flags & 16 != 0 { most } else { most.max(100) });
        let modes = [Mode::Whole, pieces];
        Self {
            cuts: input.cuts(),
            modes: [modes[usize::from(flags & 1)], modes[usize::from((flags >> 1) & 1)]],
            direct: flags & 4 != 0,
            discard: flags & 8 != 0,
        }
    }

    /// The same without discarding.
    #[must_use]
    pub const fn keeping_all(mut self) -> Self {
        self.discard = false;
        self
    }

    const fn next_mode(&mut self) -> Mode {
        self.modes.reverse();
        self.modes[0]
    }
}

struct Listener {
    inbound: Inbound,
    taking: Taking,
    message_size: Option<usize>,
    /// The input that was not consumed.
    waiting: Vec<u8>,
    heard: Heard,
}

impl Listener {
    fn read_all(&mut self, mut wire: &[u8]) -> Result<(), Failure> {
        while !wire.is_empty() {
            let mode = self.taking.next_mode();
            let mut read = self.taking.cuts.split(&mut wire);
            if self.taking.direct && self.waiting.is_empty() {
                self.read_directly(&mut read, mode)?;
            }
            self.waiting.extend_from_slice(read);
            self.listen(mode)?;
            if let Some(ProtocolEvent::Close(_)) = self.heard.events.last() {
                self.ignore(wire, mode);
                break;
            }
            if self.taking.discard && self.inbound.message_kind().is_some() {
                self.inbound.discard();
                self.heard.unfinished.clear();
                self.heard.text = 0;
                assert!(!self.inbound.has_piece() && self.inbound.message_kind().is_none());
            }
        }
        self.heard.unfinished.extend_from_slice(&self.inbound.take_piece());
        Ok(())
    }

    fn read_directly(&mut self, read: &mut &[u8], mode: Mode) -> Result<(), Failure> {
        let Some(mut room) = self.inbound.read_target(mode) else { return Ok(()) };
        assert!(room.has_remaining_mut(), "room for nothing");
        let (direct, rest) = read.split_at(read.len().min(room.remaining_mut()));
        room.put_slice(direct);
        *read = rest;
        self.waiting = self.inbound.commit_read(direct.len())?;
        self.listen(mode)
    }

    /// Processes the input until more is needed.
    fn listen(&mut self, mode: Mode) -> Result<(), Failure> {
        loop {
            let received = self.inbound.receive(&mut self.waiting, mode)?;
            drop(self.waiting.drain(..received.consumed));
            match received.event {
                Some(ProtocolEvent::Message(end)) => self.finish(&end),
                Some(ProtocolEvent::Close(frame)) => {
                    self.heard.events.push(ProtocolEvent::Close(frame));
                    return Ok(());
                }
                Some(event) => self.heard.events.push(event),
                None if self.inbound.has_piece() && mode != Mode::Whole => self.take(mode),
                None => break,
            }
        }
        assert!(self.waiting.len() < MOST_WAITING, "{} bytes wait", self.waiting.len());
        Ok(())
    }

    fn take(&mut self, mode: Mode) {
        let piece = self.inbound.take_piece();
        let Mode::Pieces(most) = mode else { return };
        // A piece that was received in another mode may be longer.
        assert!(piece.len() <= most || self.taking.modes.contains(&Mode::Whole));
        self.heard.unfinished.extend_from_slice(&piece);
        self.check_size();
        if self.inbound.message_kind() == Some(MessageType::Text) {
            let fresh = &self.heard.unfinished[self.heard.text..];
            self.heard.text += match std::str::from_utf8(fresh) {
                Ok(text) => text.len(),
                Err(error) => {
                    assert_eq!(error.error_len(), None, "a piece of text is none");
                    error.valid_up_to()
                }
            };
        }
    }

    fn finish(&mut self, end: &Message) {
        self.heard.unfinished.extend_from_slice(end.as_bytes());
        self.check_size();
        let payload = mem::take(&mut self.heard.unfinished);
        self.heard.text = 0;
        self.heard.events.push(ProtocolEvent::Message(match end.kind() {
            MessageType::Text => Message::text_from_bytes(payload).expect("text is UTF-8"),
            MessageType::Binary => Message::binary(payload),
        }));
    }

    fn check_size(&self) {
        let len = self.heard.unfinished.len();
        assert!(self.message_size.is_none_or(|limit| len <= limit), "{len} bytes in a message");
    }

    /// Input behind a close frame is ignored.
    fn ignore(&mut self, wire: &[u8], mode: Mode) {
        self.waiting.extend_from_slice(wire);
        self.heard.ignored += self.waiting.len();
        let consumed = self.waiting.len();
        let received = self.inbound.receive(&mut self.waiting, mode);
        assert_eq!(received, Ok(Received { consumed, event: None }));
    }
}
