//! How do received bytes become messages and control frame events?
//!
//! Longer than 400 lines because the receiving half is one state machine, with three ways to read a
//! message: whole or in pieces, straight into its buffer, and in raw frames.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::fast_path::{self, FastPath};
use super::payload_buffer::PayloadBuffer;
use super::reassembly::{
    Delivery, PartialFrame, PartialMessage, READ_SLACK, WINDOW_STEP, check_size, end_window,
    inflate, reserve, update_window,
};
use super::turn::Turn;
use super::validate::{Context, validate};
use super::{CloseFrame, Failure, Mode, ProtocolEvent, Received, Role};
use crate::deflate::{Inflater, Params};
use crate::frame::{Frame, Header, OpCode, mask};
use crate::utf8::Utf8;
use crate::{Config, Limit, Limits, Message, MessageType, ProtocolError};

/// A payload with at least this many bytes outstanding is read straight into the message.
const MIN_READ_TARGET: u64 = 8 * 1024;

/// A message of this length is a long one.
#[cfg(feature = "conn")]
const LONG: usize = 128 * 1024;

/// The largest part of a discarded message that is held at a time.
const DISCARD_CHUNK: usize = 64 * 1024;

/// The receiving half of the protocol: bytes in, [`ProtocolEvent`]s out.
///
/// It holds the unfinished message only. Input that it has not consumed stays with the caller.
#[derive(Debug)]
pub struct Inbound {
    role: Role,
    /// Shared with the connection, copied when a limit is set for this connection alone.
    config: Arc<Config>,
    /// Boxed, since most connections do not compress.
    inflater: Option<Box<Inflater>>,
    /// Boxed, since most messages arrive whole and take the fast path.
    message: Option<Box<PartialMessage>>,
    state: InboundState,
    /// A long message was read. It is here, and not in the reader, because of the size of both.
    #[cfg(feature = "conn")]
    was_long: bool,
    /// The number of frames received in addition to the first of each message.
    extra_frames: u32,
}

/// How the next message is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InboundState {
    /// As a message, whole or in pieces.
    Messages,
    /// As raw frames.
    Frames,
    /// Not at all: this side has closed.
    Discard,
    /// A close frame has arrived. Everything after it is ignored.
    Closed,
}

impl Inbound {
    /// The receiving half of a new connection. `compression` is what the opening handshake
    /// negotiated.
    pub fn new(role: Role, config: impl Into<Arc<Config>>, compression: Option<Params>) -> Self {
        let inflater = compression.map(|params| match role {
            Role::Server => (params.client_max_window_bits, !params.client_no_context_takeover),
            Role::Client => (params.server_max_window_bits, !params.server_no_context_takeover),
        });
        Self {
            role,
            config: config.into(),
            inflater: inflater.map(|(bits, takeover)| Box::new(Inflater::new(bits, takeover))),
            message: None,
            state: InboundState::Messages,
            #[cfg(feature = "conn")]
            was_long: false,
            extra_frames: 0,
        }
    }

    /// Reads `input` up to the next event. The payload is unmasked in place.
    ///
    /// # Errors
    ///
    /// When the peer violates the protocol or a limit. The connection must then be failed.
    #[inline]
    pub fn receive(&mut self, input: &mut [u8], mode: Mode) -> Result<Received, Failure> {
        let mut consumed = 0;
        loop {
            let (rest, mut turn) = (input.get_mut(consumed..).unwrap_or_default(), Turn::new());
            let received = self.receive_in_turn(rest, mode, &mut turn)?;
            consumed += received.consumed;
            if received.event.is_some() || !turn.is_over() {
                return Ok(Received { consumed, ..received });
            }
        }
    }

    /// As [`receive`](Self::receive), but stops without an event when the turn is over. Frames are
    /// counted, except for one that ends a message: the caller counts the messages.
    #[inline]
    pub(crate) fn receive_in_turn(
        &mut self,
        input: &mut [u8],
        mode: Mode,
        turn: &mut Turn,
    ) -> Result<Received, Failure> {
        let mut consumed = 0;
        let event = loop {
            let rest = input.get_mut(consumed..).unwrap_or_default();
            if self.state == InboundState::Closed {
                consumed += rest.len();
                break None;
            }
            if self.is_inside_frame() {
                let (used, step) = self.payload(rest, mode, turn)?;
                consumed += used;
                match step {
                    PayloadStep::FrameEnd => turn.frame(),
                    PayloadStep::Message(message) => break Some(ProtocolEvent::Message(message)),
                    PayloadStep::More => {}
                    PayloadStep::Full | PayloadStep::NeedInput => break None,
                }
                if turn.is_over() {
                    break None;
                }
                continue;
            }
            let available = rest.len();
            match self.fast_path(rest) {
                FastPath::Message(message) => {
                    consumed += available - message.rest.len();
                    break Some(ProtocolEvent::Message(message.message()));
                }
                FastPath::NotUtf8 => return Err(ProtocolError::TextNotUtf8.into()),
                FastPath::Other => {}
            }
            let Some((header, head)) = Header::decode(rest) else { break None };
            // Validated before its payload is awaited: an invalid frame is never buffered.
            validate(&header, self.context())?;
            if header.opcode.is_control() {
                let rest = rest.get_mut(head..).unwrap_or_default();
                let Some(payload) = rest.get_mut(..header.len as usize) else { break None };
                consumed += head + payload.len();
                turn.frame();
                break Some(self.control(&header, payload)?);
            }
            self.begin(&header)?;
            consumed += head;
        };
        Ok(Received { consumed, event })
    }

    /// The fast path for a complete message in one frame. See [`fast_path`].
    #[inline(always)]
    pub(crate) fn fast_path<'a>(&self, input: &'a mut [u8]) -> FastPath<'a> {
        if self.message.is_some() || self.state != InboundState::Messages {
            return FastPath::Other;
        }
        fast_path::read(self.role, &self.config.limits, input)
    }

    /// Whether `input` begins with a complete frame, so that [`receive`](Self::receive) makes
    /// progress without more bytes. `input` is what `receive` left over.
    #[inline]
    pub fn is_ready(&self, input: &[u8]) -> bool {
        let &[_, sizes, ..] = input else { return false };
        let mask = if sizes & 0x80 == 0 { 0 } else { 4 };
        let frame = match sizes & 0x7f {
            126 | 127 => match Header::decode(input) {
                Some((header, head)) => header.len.saturating_add(head as u64),
                None => return false,
            },
            len => u64::from(len) + mask + 2,
        };
        input.len() as u64 >= frame && !self.is_inside_frame()
    }

    /// The type of the message that is arriving.
    pub fn message_kind(&self) -> Option<MessageType> {
        self.message.as_ref().filter(|message| !message.is_discarded()).map(|message| message.kind)
    }

    /// Takes the part of the message that has arrived, in [`Mode::Pieces`].
    pub fn take_piece(&mut self) -> Bytes {
        self.message.as_mut().map(|message| message.take()).unwrap_or_default().into()
    }

    /// Whether the payload of a data frame is incomplete. After [`receive`](Self::receive) has
    /// stopped because a piece is full, another call then makes progress without more input.
    #[inline]
    pub fn is_inside_frame(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.frame.is_some())
    }

    /// Whether a part of the message has arrived and was not taken yet.
    pub fn has_piece(&self) -> bool {
        self.message.as_ref().is_some_and(|message| !message.partial.is_empty())
    }

    /// The length of what [`take_piece`](Self::take_piece) returns.
    #[cfg(feature = "conn")]
    pub(crate) fn piece_len(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.partial.len())
    }

    /// Notes whether the message that is arriving is a long one.
    #[cfg(feature = "conn")]
    pub(crate) fn note_long(&mut self) {
        self.was_long = self.piece_len() >= LONG;
    }

    /// Whether a long message was read since [`take_was_long`](Self::take_was_long).
    #[cfg(feature = "conn")]
    #[inline]
    pub(crate) const fn was_long(&self) -> bool {
        self.was_long
    }

    #[cfg(feature = "conn")]
    pub(crate) const fn take_was_long(&mut self) -> bool {
        std::mem::replace(&mut self.was_long, false)
    }

    /// Whether the next message has a maximum length.
    #[cfg(feature = "conn")]
    pub(crate) fn has_size_limit(&self) -> bool {
        self.config.limits.message_size != usize::MAX
    }

    /// Discards the message that is arriving. The rest of it is still checked.
    pub fn discard(&mut self) {
        if let Some(message) = &mut self.message {
            message.take();
            message.delivery = Delivery::Discard;
        }
    }

    /// Discards all further messages without checking their content. For use after this side has
    /// sent a close frame.
    pub fn discard_all(&mut self) {
        self.discard();
        if self.state != InboundState::Closed {
            self.state = InboundState::Discard;
        }
        Arc::make_mut(&mut self.config).limits = Limits::NONE;
        if let Some(message) = &mut self.message {
            message.kind = MessageType::Binary;
            message.compressed = false;
            message.limit = usize::MAX;
        }
    }

    /// Sets [`Limits::message_size`] from the next message on. `None` removes the limit.
    pub fn set_message_size(&mut self, limit: Option<usize>) {
        let limit = limit.unwrap_or(usize::MAX);
        if limit != self.config.limits.message_size {
            Arc::make_mut(&mut self.config).limits.message_size = limit;
        }
    }

    /// Removes the limits on message size, frame size and fragments from the next message on, for
    /// a caller that streams payloads. Rate limits stay.
    pub fn disable_size_limits(&mut self) {
        let limits = &mut Arc::make_mut(&mut self.config).limits;
        limits.message_size = usize::MAX;
        limits.frame_size = usize::MAX;
        limits.fragments = usize::MAX;
    }

    /// The number of payload bytes outstanding in the current frame.
    pub fn bytes_needed(&self) -> u64 {
        let frame = self.message.as_ref().and_then(|message| message.frame);
        frame.map_or(0, |frame| frame.outstanding)
    }

    /// The buffer to read a long payload into without a copy. `None` when the frame is short or
    /// has to be decompressed. Call [`commit_read`](Self::commit_read) after the read.
    ///
    /// All earlier input must have been consumed.
    pub fn read_target(&mut self, mode: Mode) -> Option<bytes::buf::Limit<&mut Vec<u8>>> {
        let message = self.message.as_mut()?;
        let frame = message.frame?;
        let copied = message.compressed || message.is_discarded();
        if copied || frame.outstanding < MIN_READ_TARGET {
            return None;
        }
        let outstanding = frame.outstanding();
        let room = match mode {
            Mode::Whole => outstanding,
            Mode::Pieces(max) => outstanding.min(max.saturating_sub(message.partial.len())),
        };
        if room == 0 {
            return None;
        }
        let max = message.max_copied(&frame, mode);
        let slack = if room == outstanding { READ_SLACK } else { 0 };
        reserve(&mut message.partial, 0, room.saturating_add(slack), max.saturating_add(slack));
        let spare = message.partial.capacity() - message.partial.len();
        Some(message.partial.end().limit(room.saturating_add(slack).min(spare)))
    }

    /// Notes that `count` bytes were read into the [`read_target`](Self::read_target). Returns
    /// the bytes after the frame, which are the next input.
    ///
    /// # Errors
    ///
    /// When a text message is not UTF-8, or the message exceeds its size limit.
    pub fn commit_read(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        let Some(message) = &mut self.message else { return Ok(Vec::new()) };
        let start = message.partial.len().saturating_sub(count);
        let end = message.frame.map_or(start, |frame| start.saturating_add(frame.outstanding()));
        let behind = message.partial.get(end..).unwrap_or_default().to_vec();
        message.partial.truncate(end);
        let fresh = message.partial.get_mut(start..).unwrap_or_default();
        if let Some(frame) = &mut message.frame {
            frame.outstanding = frame.outstanding.saturating_sub(fresh.len() as u64);
            frame.mask = frame.mask.map(|key| mask(fresh, key));
        }
        message.check_from(start)?;
        Ok(behind)
    }

    /// Turns frame mode on or off. In frame mode, messages that begin from now on are delivered as
    /// raw frames: call [`take_frame`](Self::take_frame) when [`has_frame`](Self::has_frame)
    /// returns `true`.
    pub fn set_frame_mode(&mut self, on: bool) {
        self.state = match self.state {
            InboundState::Messages | InboundState::Frames if on => InboundState::Frames,
            InboundState::Messages | InboundState::Frames => InboundState::Messages,
            other @ (InboundState::Discard | InboundState::Closed) => other,
        };
    }

    /// Whether frame mode is on.
    pub fn is_frame_mode(&self) -> bool {
        self.state == InboundState::Frames
    }

    /// Whether the current message is delivered as raw frames.
    pub fn is_message_in_frames(&self) -> bool {
        self.raw_header().is_some()
    }

    /// Whether a raw frame is complete. [`receive`](Self::receive) stops until it is taken.
    #[inline]
    pub fn has_frame(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.has_frame())
    }

    /// Whether the complete raw frame is the last of its message.
    pub fn has_last_frame(&self) -> bool {
        self.has_frame() && self.raw_header().is_some_and(|header| header.fin)
    }

    /// Takes a complete raw frame. It is unmasked, and still compressed if its message is.
    pub fn take_frame(&mut self) -> Option<Frame> {
        let header = self.raw_header()?;
        let message = self.message.as_mut().filter(|message| message.has_frame())?;
        let payload = message.take().into();
        message.frame = None;
        if header.fin {
            self.message = None;
        }
        Some(Frame::received(header, payload))
    }

    /// The number of frames received in addition to the first of each message.
    pub const fn extra_frames(&self) -> u32 {
        self.extra_frames
    }

    /// The number of compressed payload bytes received, and their size after decompression.
    pub fn inflated(&self) -> (u64, u64) {
        self.inflater.as_ref().map_or((0, 0), |inflater| inflater.totals())
    }

    fn raw_header(&self) -> Option<Header> {
        match self.message.as_ref()?.delivery {
            Delivery::Frames(header) => Some(header),
            Delivery::Message | Delivery::Discard => None,
        }
    }

    #[inline]
    const fn context(&self) -> Context {
        Context {
            role: self.role,
            in_message: self.message.is_some(),
            compression: self.inflater.is_some(),
        }
    }

    /// Decodes a complete control frame.
    fn control(&mut self, header: &Header, payload: &mut [u8]) -> Result<ProtocolEvent, Failure> {
        self.extra_frames = self.extra_frames.saturating_add(1);
        if let Some(key) = header.mask {
            mask(payload, key);
        }
        if header.opcode == OpCode::CLOSE {
            let close = CloseFrame::decode(payload)?;
            self.state = InboundState::Closed;
            return Ok(ProtocolEvent::Close(close));
        }
        let payload = Bytes::copy_from_slice(payload);
        Ok(match header.opcode {
            OpCode::PING => ProtocolEvent::Ping(payload),
            _ => ProtocolEvent::Pong(payload),
        })
    }

    /// Begins a data frame, and a message if the frame is the first.
    fn begin(&mut self, header: &Header) -> Result<(), Failure> {
        let limits = &self.config.limits;
        if header.len > limits.frame_size as u64 {
            return Err(Failure::TooBig { limit: limits.frame_size, setting: Limit::FrameSize });
        }
        let frame = PartialFrame { fin: header.fin, mask: header.mask, outstanding: header.len };
        if let Some(message) = &mut self.message {
            self.extra_frames = self.extra_frames.saturating_add(1);
            message.fragments += 1;
            if message.fragments > limits.fragments {
                let limit = limits.fragments;
                return Err(Failure::TooBig { limit, setting: Limit::Fragments });
            }
            if !message.is_inflated() {
                let size = (message.delivered + message.partial.len()) as u64;
                check_size(message.limit, size.saturating_add(header.len))?;
            }
            message.frame = Some(frame);
            if let Delivery::Frames(raw) = &mut message.delivery {
                *raw = *header;
            }
            return Ok(());
        }
        let (kind, compressed, delivery) = match self.state {
            InboundState::Messages => (kind_of(header.opcode), header.rsv1, Delivery::Message),
            InboundState::Frames => (MessageType::Binary, header.rsv1, Delivery::Frames(*header)),
            InboundState::Discard | InboundState::Closed => {
                (MessageType::Binary, false, Delivery::Discard)
            }
        };
        let message = PartialMessage {
            kind,
            compressed,
            delivery,
            limit: limits.message_size,
            fragments: 1,
            frame: Some(frame),
            partial: PayloadBuffer::default(),
            delivered: 0,
            utf8: Utf8::new(),
        };
        if !message.is_inflated() {
            check_size(message.limit, header.len)?;
        }
        self.message = Some(Box::new(message));
        Ok(())
    }

    /// Consumes the payload of the current frame from `input`. Returns the number of bytes used.
    fn payload(
        &mut self,
        input: &mut [u8],
        mode: Mode,
        turn: &mut Turn,
    ) -> Result<(usize, PayloadStep), Failure> {
        let Some(message) = &mut self.message else { return Ok((0, PayloadStep::NeedInput)) };
        let Some(mut frame) = message.frame else { return Ok((0, PayloadStep::NeedInput)) };
        let mode = if message.is_discarded() { Mode::Pieces(DISCARD_CHUNK) } else { mode };
        let available = input.len();
        let most = if message.updates_window() { WINDOW_STEP } else { available };
        let payload =
            input.get_mut(..frame.outstanding().min(available).min(most)).unwrap_or_default();
        let start = message.partial.len();
        let (used, full) = if message.is_inflated() {
            let max = message.begin_inflating(mode);
            let inflater = self.inflater.as_deref_mut();
            let done = inflate(inflater, &frame, payload, message.partial.end(), max)?;
            turn.bytes(message.partial.len().saturating_sub(start));
            done
        } else {
            let (copied, full) = message.copy(&frame, payload, mode);
            if message.updates_window() {
                let copied = payload.get(..copied).unwrap_or_default();
                turn.bytes(update_window(self.inflater.as_deref_mut(), copied)?);
            }
            (copied, full)
        };
        frame.outstanding -= used as u64;
        frame.mask = frame.mask.map(|key| key.skip(used));
        message.frame = Some(frame);
        message.check_from(start)?;
        let step = match (full, frame.outstanding) {
            (true, _) => full_step(message, mode),
            (false, 0) => self.end_of_frame(frame, mode, turn)?,
            (false, _) if used < available => PayloadStep::More,
            (false, _) => PayloadStep::NeedInput,
        };
        Ok((used, step))
    }

    /// Ends a frame whose payload has been consumed, and the message if the frame is its last.
    fn end_of_frame(
        &mut self,
        frame: PartialFrame,
        mode: Mode,
        turn: &mut Turn,
    ) -> Result<PayloadStep, Failure> {
        let Some(message) = &mut self.message else { return Ok(PayloadStep::FrameEnd) };
        if let Delivery::Frames(_) = message.delivery {
            if message.updates_window() && frame.fin {
                end_window(self.inflater.as_deref_mut())?;
            }
            return Ok(PayloadStep::Full);
        }
        if !frame.fin {
            message.frame = None;
            return Ok(PayloadStep::FrameEnd);
        }
        if message.compressed {
            let max = message.begin_inflating(mode);
            let start = message.partial.len();
            let Some(inflater) = &mut self.inflater else { return Ok(PayloadStep::NeedInput) };
            let full = inflater.finish(message.partial.end(), max)?;
            turn.bytes(message.partial.len().saturating_sub(start));
            message.check_from(start)?;
            if full {
                return Ok(full_step(message, mode));
            }
        }
        if message.kind == MessageType::Text {
            message.utf8.finish().map_err(|_| ProtocolError::TextNotUtf8)?;
        }
        let Some(message) = self.message.take().filter(|message| !message.is_discarded()) else {
            return Ok(PayloadStep::FrameEnd);
        };
        let payload = match message.compressed {
            true => message.partial.into_vec().into(),
            false => message.partial.into_bytes(),
        };
        let message = Message::from_utf8_unchecked(message.kind, payload);
        Ok(PayloadStep::Message(message))
    }
}

/// Why [`Inbound::payload`] stopped.
enum PayloadStep {
    /// A frame has ended, or a discarded message.
    FrameEnd,
    /// A message has ended.
    Message(Message),
    /// The input is used up.
    NeedInput,
    /// The piece has reached its maximum length, or a raw frame is complete.
    Full,
    /// A part is inflated, and there is more.
    More,
}

/// What to do when no more of a message can be held, or may be inflated in one step.
const fn full_step(message: &PartialMessage, mode: Mode) -> PayloadStep {
    match mode {
        Mode::Pieces(_) if !message.is_discarded() => PayloadStep::Full,
        Mode::Pieces(_) | Mode::Whole => PayloadStep::More,
    }
}

const fn kind_of(opcode: OpCode) -> MessageType {
    match opcode {
        OpCode::TEXT => MessageType::Text,
        _ => MessageType::Binary,
    }
}
