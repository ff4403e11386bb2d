//! How do bytes become messages?

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::by_frame::Taken;
use super::judge::{Situation, judge};
use super::payload::{
    OpenFrame, OpenMessage, SLACK, check_size, follow, follow_end, grow, inflate,
};
use super::{CloseFrame, Failure, FastPath, Mode, ProtocolEvent, Received, Role};
use crate::deflate::{Inflater, Params};
use crate::frame::{Header, OpCode, mask};
use crate::utf8::Utf8;
use crate::{Config, Limit, Limits, Message, MessageType, ProtocolError};

/// From this many missing bytes on, a payload is read straight to where it stays.
const DIRECT: u64 = 8 * 1024;

/// How much of a message that nobody wants is held at a time.
const DISCARD: usize = 64 * 1024;

/// The half of the protocol that faces the peer's bytes.
///
/// It holds the unfinished message and nothing else: bytes that it has not consumed
/// stay with the caller.
#[derive(Debug)]
pub struct Inbound {
    pub(super) role: Role,
    /// Shared with the connection, until a limit is set for this one alone.
    pub(super) config: Arc<Config>,
    /// Apart, since few connections compress.
    pub(super) inflater: Option<Box<Inflater>>,
    /// Apart, since most messages are here whole when they are looked at.
    pub(super) message: Option<Box<OpenMessage>>,
    /// How is the next message taken?
    pub(super) taken: Taken,
    /// How many frames came beside the first of each message.
    pub(super) extra_frames: u32,
}

impl Inbound {
    /// Nothing received yet.
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
            taken: Taken::Whole,
            extra_frames: 0,
        }
    }

    /// Looks at `input` until there is something to tell, and unmasks it in place.
    ///
    /// # Errors
    ///
    /// When the peer did something wrong. Nothing after that is looked at.
    #[inline]
    pub fn receive(&mut self, input: &mut [u8], mode: Mode) -> Result<Received, Failure> {
        let mut consumed = 0;
        loop {
            let rest = input.get_mut(consumed..).unwrap_or_default();
            if self.taken == Taken::Closed {
                return Ok(Received { consumed: consumed + rest.len(), event: None });
            }
            if self.is_inside_frame() {
                let (taken, reached) = self.payload(rest, mode)?;
                consumed += taken;
                match reached {
                    Reached::End => continue,
                    Reached::EndOf(message) => {
                        return Ok(Received {
                            consumed,
                            event: Some(ProtocolEvent::Message(message)),
                        });
                    }
                    Reached::Full if self.is_discarding() => continue,
                    Reached::Full | Reached::Dry => return Ok(Received { consumed, event: None }),
                }
            }
            let left = rest.len();
            match self.fast_path(rest) {
                FastPath::Message(whole) => {
                    consumed += left - whole.rest.len();
                    let event = ProtocolEvent::Message(whole.message());
                    return Ok(Received { consumed, event: Some(event) });
                }
                FastPath::NotUtf8 => return Err(ProtocolError::TextNotUtf8.into()),
                FastPath::Other => {}
            }
            let Some((header, head)) = Header::decode(rest) else {
                return Ok(Received { consumed, event: None });
            };
            // Judge before waiting for the payload: a peer must not be able to make
            // us buffer a frame that we are going to refuse.
            judge(&header, self.situation())?;
            if header.opcode.is_control() {
                let rest = rest.get_mut(head..).unwrap_or_default();
                let Some(payload) = rest.get_mut(..header.len as usize) else {
                    return Ok(Received { consumed, event: None });
                };
                consumed += head + payload.len();
                let event = self.control(&header, payload)?;
                return Ok(Received { consumed, event: Some(event) });
            }
            self.begin(&header)?;
            consumed += head;
        }
    }

    /// The type of the message that is arriving, if one is.
    pub fn message_kind(&self) -> Option<MessageType> {
        self.message.as_ref().filter(|message| !message.discard).map(|message| message.kind)
    }

    /// Takes what has arrived of the message, in [`Mode::Pieces`].
    pub fn take_piece(&mut self) -> Bytes {
        self.message.as_mut().map(|message| message.take()).unwrap_or_default().into()
    }

    /// Is there something to do without further input? Said after a call of
    /// [`receive`](Self::receive) stopped because a piece was as long as it may be.
    #[inline]
    pub fn is_inside_frame(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.frame.is_some())
    }

    /// Has anything of the message arrived that was not taken?
    pub fn has_piece(&self) -> bool {
        self.message.as_ref().is_some_and(|message| !message.partial.is_empty())
    }

    /// Drops the message that is arriving; the rest of it is looked at, under the
    /// same limits, and dropped too.
    pub fn discard(&mut self) {
        if let Some(message) = &mut self.message {
            message.take();
            message.discard = true;
            message.whole_again();
        }
    }

    /// Drops all messages from now on, as they arrive and whatever is in them: this side
    /// has closed, and will not look at them.
    pub fn discard_all(&mut self) {
        self.discard();
        if self.taken != Taken::Closed {
            self.taken = Taken::Dropped;
        }
        Arc::make_mut(&mut self.config).limits = Limits::NONE;
        if let Some(message) = &mut self.message {
            message.kind = MessageType::Binary;
            message.compressed = false;
            message.limit = usize::MAX;
        }
    }

    /// Sets [`Limits::message_size`], from the next message on.
    pub fn set_message_size(&mut self, limit: Option<usize>) {
        let limit = limit.unwrap_or(usize::MAX);
        if limit != self.config.limits.message_size {
            Arc::make_mut(&mut self.config).limits.message_size = limit;
        }
    }

    /// Accepts messages and frames of any length, and any number of fragments, from the next
    /// message on: for whoever holds none of it. Rates stay.
    pub fn disable_size_limits(&mut self) {
        let limits = self.config.limits;
        Arc::make_mut(&mut self.config).limits = Limits {
            message_size: usize::MAX,
            frame_size: usize::MAX,
            fragments: usize::MAX,
            ..limits
        };
    }

    /// How many bytes of the frame that is arriving have not been looked at.
    pub fn bytes_needed(&self) -> u64 {
        let frame = self.message.as_ref().and_then(|message| message.frame);
        frame.map_or(0, |frame| frame.missing)
    }

    /// Where to read a long payload to without copying it, and at most how much of
    /// it; `None` when that would not be worth it. To be followed by
    /// [`commit_read`](Self::commit_read).
    ///
    /// Nothing may be left of the input then.
    pub fn read_target(&mut self, mode: Mode) -> Option<bytes::buf::Limit<&mut Vec<u8>>> {
        let message = self.message.as_mut()?;
        let frame = message.frame?;
        let apart = message.compressed | message.follows | message.discard;
        if apart || frame.missing < DIRECT {
            return None;
        }
        let missing = frame.missing();
        let room = match mode {
            Mode::Whole => missing,
            Mode::Pieces(most) => missing.min(most.saturating_sub(message.partial.len())),
        };
        if room == 0 {
            return None;
        }
        let most = message.most_copied(&frame, mode);
        let slack = if room == missing { SLACK } else { 0 };
        grow(&mut message.partial, 0, room.saturating_add(slack), most.saturating_add(slack));
        let spare = message.partial.capacity() - message.partial.len();
        Some((&mut message.partial).limit(room.saturating_add(slack).min(spare)))
    }

    /// Says that `count` bytes were read to where [`read_target`](Self::read_target) said, and
    /// gives back those that came behind the frame: they are the next input.
    ///
    /// # Errors
    ///
    /// When they are not text and should be.
    pub fn commit_read(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        let Some(message) = &mut self.message else { return Ok(Vec::new()) };
        let start = message.partial.len().saturating_sub(count);
        let end = message.frame.map_or(start, |frame| start.saturating_add(frame.missing()));
        let behind = match message.partial.get(end..) {
            Some(behind) => behind.to_vec(),
            None => Vec::new(),
        };
        message.partial.truncate(end);
        let fresh = message.partial.get_mut(start..).unwrap_or_default();
        if let Some(frame) = &mut message.frame {
            frame.missing = frame.missing.saturating_sub(fresh.len() as u64);
            frame.mask = frame.mask.map(|key| mask(fresh, key));
        }
        message.check_fresh(start)?;
        Ok(behind)
    }

    #[inline]
    const fn situation(&self) -> Situation {
        Situation {
            role: self.role,
            in_message: self.message.is_some(),
            compression: self.inflater.is_some(),
        }
    }

    /// Looks at a control frame, which is all here.
    fn control(&mut self, header: &Header, payload: &mut [u8]) -> Result<ProtocolEvent, Failure> {
        self.extra_frames = self.extra_frames.saturating_add(1);
        if let Some(key) = header.mask {
            mask(payload, key);
        }
        if header.opcode == OpCode::CLOSE {
            let close = CloseFrame::decode(payload)?;
            self.taken = Taken::Closed;
            return Ok(ProtocolEvent::Close(close));
        }
        let payload = Bytes::copy_from_slice(payload);
        Ok(if header.opcode == OpCode::PING {
            ProtocolEvent::Ping(payload)
        } else {
            ProtocolEvent::Pong(payload)
        })
    }

    /// Begins a data frame, and a message if it is the first.
    fn begin(&mut self, header: &Header) -> Result<(), Failure> {
        self.check_frame_size(header)?;
        let frame = OpenFrame { fin: header.fin, mask: header.mask, missing: header.len };
        if let Some(message) = &mut self.message {
            self.extra_frames = self.extra_frames.saturating_add(1);
            message.fragments += 1;
            if message.fragments > self.config.limits.fragments {
                let limit = self.config.limits.fragments;
                return Err(Failure::TooBig { limit, setting: Limit::Fragments });
            }
            if !message.compressed {
                let size = (message.taken + message.partial.len()) as u64;
                check_size(message.limit, size.saturating_add(header.len))?;
            }
            message.frame = Some(frame);
            message.header = message.header.map(|_| *header);
            return Ok(());
        }
        let unread = self.taken != Taken::Whole;
        let by_frame = self.taken == Taken::ByFrame;
        let compressed = header.rsv1 && !unread;
        if !compressed {
            check_size(self.config.limits.message_size, header.len)?;
        }
        self.message = Some(Box::new(OpenMessage {
            kind: if unread { MessageType::Binary } else { kind_of(header.opcode) },
            compressed,
            follows: header.rsv1 && by_frame,
            header: by_frame.then_some(*header),
            discard: self.taken == Taken::Dropped,
            limit: self.config.limits.message_size,
            fragments: 1,
            frame: Some(frame),
            partial: Vec::new(),
            taken: 0,
            utf8: Utf8::new(),
        }));
        Ok(())
    }

    /// Takes what `input` has of the payload of the open frame, with how many bytes
    /// that was and where it led.
    fn payload(&mut self, input: &mut [u8], mode: Mode) -> Result<(usize, Reached), Failure> {
        let Some(message) = &mut self.message else { return Ok((0, Reached::Dry)) };
        let Some(mut frame) = message.frame else { return Ok((0, Reached::Dry)) };
        let mode = if message.discard { Mode::Pieces(DISCARD) } else { mode };
        let input_len = input.len();
        let payload = input.get_mut(..frame.missing().min(input_len)).unwrap_or_default();
        let start = message.partial.len();
        let (consumed, full) = if message.compressed {
            let most = message.most_inflated(mode);
            inflate(self.inflater.as_deref_mut(), &frame, payload, &mut message.partial, most)?
        } else {
            let (copied, full) = message.copy(&frame, payload, mode);
            if message.follows {
                follow(self.inflater.as_deref_mut(), payload.get(..copied).unwrap_or_default())?;
            }
            (copied, full)
        };
        frame.missing -= consumed as u64;
        frame.mask = frame.mask.map(|key| key.skip(consumed));
        message.frame = Some(frame);
        message.check_fresh(start)?;
        let reached = match (full, frame.missing) {
            (true, _) => Reached::Full,
            (false, 0) => self.end_of_frame(frame, mode)?,
            (false, _) => Reached::Dry,
        };
        Ok((consumed, reached))
    }

    /// Ends a frame whose payload is used up, and the message if it was the last.
    fn end_of_frame(&mut self, frame: OpenFrame, mode: Mode) -> Result<Reached, Failure> {
        let Some(message) = &mut self.message else { return Ok(Reached::End) };
        if message.header.is_some() {
            if message.follows && frame.fin {
                follow_end(self.inflater.as_deref_mut())?;
            }
            return Ok(Reached::Full);
        }
        if !frame.fin {
            message.frame = None;
            return Ok(Reached::End);
        }
        if message.compressed {
            let most = message.most_inflated(mode);
            let start = message.partial.len();
            let Some(inflater) = &mut self.inflater else { return Ok(Reached::Dry) };
            let full =
                inflater.finish(&mut message.partial, most).map_err(|_| ProtocolError::Deflate)?;
            message.check_fresh(start)?;
            if full {
                return Ok(Reached::Full);
            }
        }
        if message.kind == MessageType::Text {
            message.utf8.finish().map_err(|_| ProtocolError::TextNotUtf8)?;
        }
        let Some(message) = self.message.take().filter(|message| !message.discard) else {
            return Ok(Reached::End);
        };
        Ok(Reached::EndOf(Message::from_checked(message.kind, message.partial.into())))
    }

    fn is_discarding(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.discard)
    }

    fn check_frame_size(&self, header: &Header) -> Result<(), Failure> {
        let limit = self.config.limits.frame_size;
        if header.len > limit as u64 {
            return Err(Failure::TooBig { limit, setting: Limit::FrameSize });
        }
        Ok(())
    }
}

/// Where the payload of a frame led.
enum Reached {
    /// The end of a frame, or of a message that nobody wants.
    End,
    /// The end of a message.
    EndOf(Message),
    /// The end of the input.
    Dry,
    /// The end of the room.
    Full,
}

const fn kind_of(opcode: OpCode) -> MessageType {
    match opcode {
        OpCode::TEXT => MessageType::Text,
        _ => MessageType::Binary,
    }
}
