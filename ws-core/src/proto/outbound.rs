//! How do messages, control frames and raw frames become bytes to send?
//!
//! Longer than 400 lines because the sending half is one state machine, with all ways to queue a
//! frame: messages, prepared messages, pieces, raw frames and control frames.

use std::io::IoSlice;

use bytes::Bytes;

use super::compressor::Compressor;
use super::outbound_stream::OutboundStream;
use super::send_buffer::SendBuffer;
use super::validate::{Context, validate};
use super::{CloseFrame, Role, fast_path};
use crate::deflate::{DeflateError, Params};
use crate::frame::{Frame, Header, MAX_CONTROL_PAYLOAD, Mask, OpCode};
use crate::utf8::Utf8;
use crate::{Config, Message, MessageType, PreparedMessage, SendError};

/// Beyond this many bytes of waiting control frames, a pong replaces the one before it. Only the
/// latest ping has to be answered (RFC 6455 §5.5.3).
const MAX_WAITING_PONGS: usize = 4 * 1024;

/// The sending half of the protocol: messages in, bytes out.
#[derive(Debug)]
pub struct Outbound {
    role: Role,
    state: SendState,
    buffer: SendBuffer,
    /// The number of bytes that the transport has taken.
    sent: u64,
    /// The message that is being sent in pieces or in raw frames.
    stream: Option<OutboundStream>,
    /// The number of frames queued in addition to the first of each message.
    extra_frames: u32,
    /// Boxed, since most connections need none of it before they close.
    extras: Option<Box<OutboundExtras>>,
}

/// How messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    /// Each in one uncompressed frame.
    Plain,
    /// Compressed or fragmented, as configured.
    Transformed,
    /// Not at all: a close frame has been queued.
    Closed,
}

/// State that few connections need.
#[derive(Debug, Default)]
struct OutboundExtras {
    compressor: Option<Compressor>,
    /// Longer messages are cut into fragments of this many bytes.
    fragment_size: Option<usize>,
    /// The latest pong, when too many are waiting.
    pong: Option<Bytes>,
    close: QueuedClose,
    /// The UTF-8 state of a text message that is sent in raw frames.
    text: Option<Utf8>,
}

/// The close frame of this side.
#[derive(Debug, Default)]
enum QueuedClose {
    #[default]
    None,
    /// Behind the data that was queued before it.
    InOrder(CloseFrame),
    /// Ahead of the data, which was dropped.
    Prioritized(CloseFrame),
}

/// What follows a piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// More pieces. A compressor may hold bytes back.
    More,
    /// More pieces. The compressor is flushed, so that the peer can read this one now.
    Flush,
    /// Nothing. This is the last piece.
    End,
}

impl Outbound {
    /// The sending half of a new connection. `compression` is what the opening handshake
    /// negotiated.
    pub fn new(role: Role, config: &Config, compression: Option<Params>) -> Self {
        let compressor = compression.map(|params| Compressor::new(role, config, params));
        let fragment_size = config.fragment_size;
        let is_plain = compressor.is_none() && fragment_size.is_none();
        let extras =
            || Box::new(OutboundExtras { compressor, fragment_size, ..OutboundExtras::default() });
        Self {
            role,
            state: if is_plain { SendState::Plain } else { SendState::Transformed },
            buffer: SendBuffer::new(config.buffer_pool.clone()),
            sent: 0,
            stream: None,
            extra_frames: 0,
            extras: (!is_plain).then(extras),
        }
    }

    /// Queues a message. Does nothing after a close frame. Must not be called while a message is
    /// sent in pieces.
    #[inline]
    pub fn message(&mut self, message: Message) {
        if self.state == SendState::Closed {
            return;
        }
        if self.push_short(&message) {
            return;
        }
        let opcode = OpCode::of(message.kind());
        if let Some(compressor) = self.compressor()
            && let Some(payload) = compressor.compress(&message)
        {
            return self.frames(opcode, true, payload);
        }
        self.frames(opcode, false, message.into_bytes());
    }

    /// Queues a message if it is short and needs no transformation. Returns whether it was
    /// queued. The conditions of [`message`](Self::message) apply.
    #[inline]
    pub(crate) fn push_short(&mut self, message: &Message) -> bool {
        let opcode = OpCode::of(message.kind());
        self.state == SendState::Plain
            && self.buffer.push_short(opcode, self.mask(), message.as_bytes())
    }

    /// Encodes a message to `room`, bypassing the send buffer. `None` unless the message is
    /// short, needs no transformation, and nothing waits ahead of it. Call
    /// [`direct_written`](Self::direct_written) after the write.
    #[doc(hidden)]
    #[inline]
    pub fn encode_direct<'a>(&self, message: &Message, room: &'a mut [u8]) -> Option<&'a [u8]> {
        if self.state != SendState::Plain || !self.buffer.is_empty() {
            return None;
        }
        fast_path::write(OpCode::of(message.kind()), self.mask(), message.as_bytes(), room)
    }

    /// Notes that the transport took the first `taken` bytes of a frame from
    /// [`encode_direct`](Self::encode_direct). The rest is queued.
    #[doc(hidden)]
    #[inline]
    pub fn direct_written(&mut self, frame: &[u8], taken: usize) {
        self.sent += taken as u64;
        if taken < frame.len() {
            self.buffer.push_partial(frame, taken);
        }
    }

    /// Queues a prepared message. The conditions of [`message`](Self::message) apply.
    pub fn prepared(&mut self, prepared: &PreparedMessage) {
        let message = prepared.message();
        match (self.state, self.role) {
            (SendState::Plain, Role::Server) => {
                if self.buffer.push_ready(prepared.header(), message.as_bytes()) {
                    return;
                }
            }
            (SendState::Closed, _) => return,
            (SendState::Plain, Role::Client) if self.push_short(message) => return,
            (SendState::Plain, Role::Client) | (SendState::Transformed, _) => {}
        }
        let deflated = match self.compressor() {
            // The output refers to earlier messages, so it cannot be shared.
            Some(compressor) if compressor.takeover => return self.message(message.clone()),
            Some(compressor) => compressor.compress_once(prepared),
            None => None,
        };
        let payload = deflated.as_deref().unwrap_or(message.as_bytes());
        let share = || deflated.clone().unwrap_or_else(|| message.to_bytes());
        if payload.len() > self.fragment_size() {
            return self.frames(OpCode::of(message.kind()), deflated.is_some(), share());
        }
        let opcode = OpCode::of(message.kind());
        let header = self.header(true, opcode, deflated.is_some(), payload.len());
        self.buffer.push_shared(&header, payload, share);
    }

    /// Begins a message that is sent in pieces, by [`piece`](Self::piece). It is compressed if
    /// `compress` is set and compression was negotiated.
    pub fn begin(&mut self, kind: MessageType, compress: bool) {
        let compressed = compress && self.compressor().is_some();
        self.stream = Some(OutboundStream::new(kind, compressed));
    }

    /// Sends the open message uncompressed. Must be called before its first piece.
    pub fn begin_uncompressed(&mut self) {
        self.stream = self.stream.map(OutboundStream::uncompressed);
        if !self.stream.is_some_and(OutboundStream::is_compressed)
            && let Some(compressor) = self.compressor()
        {
            compressor.end();
        }
    }

    /// Sets the compression level of the open message, from 0 to 9, if it is compressed. Must be
    /// called before its first piece.
    pub fn begin_at_level(&mut self, level: u8) {
        if self.stream.is_some_and(OutboundStream::is_compressed)
            && let Some(compressor) = self.compressor()
        {
            compressor.begin_at(level);
        }
    }

    /// Queues the next piece of the open message as a frame of its own.
    ///
    /// # Errors
    ///
    /// When the compressor fails, which is not known to happen. The message then cannot be
    /// finished.
    pub fn piece(&mut self, piece: &[u8], kind: PieceKind) -> Result<(), DeflateError> {
        let Some(stream) = self.stream else { return Ok(()) };
        let last = kind == PieceKind::End;
        let mut deflated = Vec::new();
        let payload = match self.compressor() {
            Some(compressor) if stream.is_compressed() => {
                let deflater = &mut compressor.deflater;
                deflater.push(piece, &mut deflated)?;
                match kind {
                    PieceKind::More => {}
                    PieceKind::Flush => deflater.flush(&mut deflated)?,
                    PieceKind::End => deflater.finish(&mut deflated)?,
                }
                if last {
                    compressor.end();
                }
                compressor.before += piece.len() as u64;
                compressor.after += deflated.len() as u64;
                deflated.as_slice()
            }
            _ => piece,
        };
        if payload.is_empty() && !last {
            return Ok(());
        }
        self.stream = if last { None } else { Some(stream.continued()) };
        if self.state == SendState::Closed {
            return Ok(());
        }
        let mut opcode = stream.opcode();
        let mut rsv1 = stream.is_compressed() && !stream.has_begun();
        let mut rest = payload;
        loop {
            self.count_extra(opcode == OpCode::CONTINUATION);
            let len = rest.len().min(self.fragment_size());
            let (fragment, after) = rest.split_at(len);
            let header = self.header(last && after.is_empty(), opcode, rsv1, fragment.len());
            self.buffer.push_copied(&header, fragment);
            if after.is_empty() {
                return Ok(());
            }
            (rest, opcode, rsv1) = (after, OpCode::CONTINUATION, false);
        }
    }

    /// Whether a message is being sent in pieces or in raw frames.
    pub const fn is_streaming(&self) -> bool {
        self.stream.is_some()
    }

    /// Queues a raw frame. Does nothing after a close frame. Close frames must be sent by
    /// [`close`](Self::close). Must not be called while a message is sent in pieces.
    ///
    /// # Errors
    ///
    /// When the protocol does not allow the frame. Compressed payloads are not checked. Do not send
    /// them with context takeover, because the compressor does not know of them.
    pub fn frame(&mut self, frame: &Frame) -> Result<(), SendError> {
        self.check(frame)?;
        let frame = frame.clone().masked_by_role(self.mask());
        let (header, payload) = (frame.header(), frame.payload());
        if self.state == SendState::Closed {
            return Ok(());
        }
        if header.opcode.is_control() {
            self.buffer.push_urgent(header, payload);
            self.count_extra(true);
            return Ok(());
        }
        let text = self.check_text(&frame)?;
        self.buffer.push(header, payload.clone());
        self.count_extra(header.opcode == OpCode::CONTINUATION);
        self.stream = if header.fin { None } else { Some(OutboundStream::RawFrames) };
        if text.is_some() || self.extras.is_some() {
            self.extras.get_or_insert_default().text = text.filter(|_| !header.fin);
        }
        Ok(())
    }

    /// Checks whether the header of a raw frame is valid at this point.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn check(&self, frame: &Frame) -> Result<(), SendError> {
        let frame = frame.clone().masked_by_role(self.mask());
        validate(frame.header(), self.peer_context()).map_err(SendError::Frame)?;
        if frame.header().len != frame.payload().len() as u64 {
            return Err(SendError::Length(frame.header().len));
        }
        Ok(())
    }

    /// Queues a raw frame without any check.
    pub fn frame_unchecked(&mut self, frame: &Frame) {
        let frame = frame.clone().masked_by_role(self.mask());
        self.buffer.push_encoded(frame.encode().into());
        self.count_extra(true);
    }

    /// Whether a message is being sent in raw frames.
    pub fn is_sending_raw_frames(&self) -> bool {
        self.stream == Some(OutboundStream::RawFrames)
    }

    /// Queues a ping ahead of the data. Does nothing after a close frame.
    ///
    /// # Errors
    ///
    /// When the payload is longer than 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.control(OpCode::PING, payload)
    }

    /// Queues a pong ahead of the data. When too many pongs wait, the new pong replaces the one
    /// before it. Does nothing after a close frame.
    ///
    /// # Errors
    ///
    /// When the payload is longer than 125 bytes.
    pub fn pong(&mut self, payload: Bytes) -> Result<(), SendError> {
        // A postponed pong is replaced too: it must not be sent behind a later one.
        let postponed = self.extras.as_ref().is_some_and(|extras| extras.pong.is_some());
        if postponed || self.buffer.urgent_len() > MAX_WAITING_PONGS {
            if payload.len() > MAX_CONTROL_PAYLOAD {
                return Err(SendError::Control(payload.len()));
            }
            self.extras.get_or_insert_default().pong = Some(payload);
            return Ok(());
        }
        self.control(OpCode::PONG, &payload)
    }

    /// Queues a close frame after the data. Only the first close frame is sent.
    pub fn close(&mut self, frame: CloseFrame) {
        if self.state != SendState::Closed {
            let payload = frame.encode();
            let header = self.header(true, OpCode::CLOSE, false, payload.len());
            self.buffer.push_copied(&header, &payload);
            self.note_close(frame);
        }
    }

    /// Queues a close frame ahead of the data, which is dropped: fails the connection
    /// (RFC 6455 §7.1.7). Only the first close frame is sent.
    pub fn fail(&mut self, frame: CloseFrame) {
        if self.state != SendState::Closed {
            self.note_close(frame);
            self.move_close_first();
        }
    }

    /// Moves the queued close frame ahead of the data, which is dropped.
    pub fn prioritize_close(&mut self) {
        let Some(close) = self.close_frame() else { return };
        let payload = close.encode();
        let frame =
            self.header(true, OpCode::CLOSE, false, payload.len()).encode().as_slice().len();
        // No more bytes than the close frame has: it is being written already.
        if self.buffer.len() > frame + payload.len() {
            self.move_close_first();
        }
    }

    /// The close frame that was queued.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        match &self.extras.as_ref()?.close {
            QueuedClose::None => None,
            QueuedClose::InOrder(frame) | QueuedClose::Prioritized(frame) => Some(frame),
        }
    }

    /// Whether no bytes wait to be written.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The number of bytes that wait to be written.
    #[inline]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The number of control frame bytes that wait ahead of the data.
    #[inline]
    pub fn urgent_len(&self) -> usize {
        self.buffer.urgent_len()
    }

    /// The number of bytes left of a frame that the transport has taken in part.
    pub fn partial_frame_len(&mut self) -> usize {
        self.buffer.partial_frame_len()
    }

    /// Fills `slices` with the bytes to write next. Returns the number of slices filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.buffer.slices(slices)
    }

    /// The bytes that wait to be written, if they are in one piece.
    #[cfg(feature = "conn")]
    #[inline]
    pub(crate) fn single(&self) -> Option<&[u8]> {
        self.buffer.single()
    }

    /// Notes that the transport took `count` bytes.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.sent += count as u64;
        self.buffer.advance(count);
        if self.extras.is_some() && self.buffer.urgent_len() == 0 {
            self.queue_postponed_pong();
        }
    }

    /// Drops all waiting bytes, when the transport is gone.
    pub fn clear(&mut self) {
        self.buffer.clear();
        if let Some(extras) = &mut self.extras {
            extras.pong = None;
        }
    }

    /// Takes the waiting bytes, to be written by the caller.
    #[cfg(feature = "conn")]
    pub(crate) fn take_queue(&mut self) -> Self {
        let mut queue = Self::new(self.role, &Config::new(), None);
        queue.buffer = std::mem::take(&mut self.buffer);
        queue
    }

    /// The role of this side.
    #[cfg(feature = "conn")]
    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    /// The number of bytes that the transport has taken.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// The number of frames queued in addition to the first of each message.
    pub const fn extra_frames(&self) -> u32 {
        self.extra_frames
    }

    /// The number of message bytes compressed, and their size after compression.
    pub fn deflated(&self) -> (u64, u64) {
        let compressor = self.extras.as_ref().and_then(|extras| extras.compressor.as_ref());
        compressor.map_or((0, 0), |compressor| (compressor.before, compressor.after))
    }

    fn note_close(&mut self, frame: CloseFrame) {
        self.count_extra(true);
        self.extras.get_or_insert_default().close = QueuedClose::InOrder(frame);
        self.state = SendState::Closed;
    }

    fn move_close_first(&mut self) {
        let Some(extras) = &mut self.extras else { return };
        extras.pong = None;
        let QueuedClose::InOrder(close) = &extras.close else { return };
        let (close, payload) = (close.clone(), close.encode());
        extras.close = QueuedClose::Prioritized(close);
        let header = self.header(true, OpCode::CLOSE, false, payload.len());
        self.buffer.clear_data();
        self.buffer.push_urgent(&header, &payload);
    }

    #[cold]
    fn queue_postponed_pong(&mut self) {
        let pong = self.extras.as_mut().and_then(|extras| extras.pong.take());
        if let Some(payload) = pong {
            // Its length was checked when it was postponed.
            let _ = self.control(OpCode::PONG, &payload);
        }
    }

    fn control(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), SendError> {
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(SendError::Control(payload.len()));
        }
        if self.state != SendState::Closed {
            let header = self.header(true, opcode, false, payload.len());
            self.buffer.push_urgent(&header, payload);
            self.count_extra(true);
        }
        Ok(())
    }

    #[inline]
    fn header(&self, fin: bool, opcode: OpCode, rsv1: bool, len: usize) -> Header {
        Header { rsv1, mask: self.mask(), ..Header::new(fin, opcode, len as u64) }
    }

    /// The state by which the peer validates the next frame.
    fn peer_context(&self) -> Context {
        let compressor = self.extras.as_ref().and_then(|extras| extras.compressor.as_ref());
        Context {
            role: self.role.other(),
            in_message: self.stream.is_some(),
            compression: compressor.is_some_and(|compressor| !compressor.takeover),
        }
    }

    /// Checks the text of a raw frame. Returns the UTF-8 state after it; `None` if the message
    /// is binary or compressed.
    fn check_text(&self, frame: &Frame) -> Result<Option<Utf8>, SendError> {
        let text = match frame.opcode() {
            OpCode::TEXT => (!frame.header().rsv1).then(Utf8::new),
            OpCode::CONTINUATION => self.extras.as_ref().and_then(|extras| extras.text),
            _ => None,
        };
        let Some(mut text) = text else { return Ok(None) };
        text.push(frame.payload()).map_err(|_| SendError::NotUtf8)?;
        if frame.is_fin() {
            text.finish().map_err(|_| SendError::NotUtf8)?;
        }
        Ok(Some(text))
    }

    fn compressor(&mut self) -> Option<&mut Compressor> {
        self.extras.as_mut()?.compressor.as_mut()
    }

    /// The maximum payload length of a data frame.
    fn fragment_size(&self) -> usize {
        self.extras.as_ref().and_then(|extras| extras.fragment_size).unwrap_or(usize::MAX)
    }

    #[inline]
    fn frames(&mut self, opcode: OpCode, rsv1: bool, payload: Bytes) {
        let size = self.fragment_size();
        if payload.len() > size {
            return self.fragments(opcode, rsv1, payload, size);
        }
        self.buffer.push(&self.header(true, opcode, rsv1, payload.len()), payload);
    }

    fn fragments(&mut self, opcode: OpCode, rsv1: bool, mut payload: Bytes, size: usize) {
        let (mut opcode, mut rsv1) = (opcode, rsv1);
        loop {
            let fragment = payload.split_to(size.min(payload.len()));
            let fin = payload.is_empty();
            self.buffer.push(&self.header(fin, opcode, rsv1, fragment.len()), fragment);
            if fin {
                return;
            }
            (opcode, rsv1) = (OpCode::CONTINUATION, false);
            self.count_extra(true);
        }
    }

    fn count_extra(&mut self, is_extra: bool) {
        self.extra_frames = self.extra_frames.saturating_add(is_extra.into());
    }

    /// A new masking key for each frame of a client (RFC 6455 §5.3).
    #[inline]
    fn mask(&self) -> Option<Mask> {
        match self.role {
            Role::Client => Some(Mask::random()),
            Role::Server => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::{Compression, ProtocolError, StatusCode};

    /// Takes the waiting bytes, one slice at a time.
    fn drain(outbound: &mut Outbound) -> Vec<u8> {
        let mut wire = Vec::new();
        while !outbound.is_empty() {
            let mut slices = [IoSlice::new(&[]); 1];
            assert_eq!(outbound.slices(&mut slices), 1);
            let taken = slices[0].to_vec();
            assert!(!taken.is_empty(), "an empty slice would look like a dead transport");
            outbound.advance(taken.len());
            wire.extend(taken);
        }
        wire
    }

    fn server(config: Config) -> Outbound {
        Outbound::new(Role::Server, &config, None)
    }

    fn hundred() -> Message {
        Message::binary(vec![b'x'; 100])
    }

    #[test]
    fn only_one_close_frame_is_sent_however_often_it_is_prioritized() {
        let code = StatusCode::PROTOCOL_ERROR;
        let mut failed = server(Config::new());
        failed.message(hundred());
        failed.advance(5);
        failed.fail(CloseFrame::of(code, ""));
        failed.prioritize_close();
        let mut closed = server(Config::new());
        closed.message(hundred());
        closed.message(hundred());
        closed.advance(5);
        closed.close(CloseFrame::of(code, ""));
        closed.prioritize_close();
        closed.prioritize_close();
        for mut outbound in [failed, closed] {
            let wire = drain(&mut outbound);
            assert_eq!(wire, [&[b'x'; 97][..], b"\x88\x02\x03\xea"].concat());
        }
    }

    #[test]
    fn nothing_is_queued_behind_a_close_frame() {
        for role in [Role::Server, Role::Client] {
            let mut outbound = Outbound::new(role, &Config::new(), None);
            outbound.close(CloseFrame::of(StatusCode::NORMAL_CLOSURE, ""));
            let len = outbound.buffered();
            outbound.message(hundred());
            outbound.prepared(&PreparedMessage::new("a"));
            outbound.frame(&Frame::new(OpCode::TEXT, "a")).unwrap();
            outbound.ping(b"a").unwrap();
            outbound.pong(Bytes::from_static(b"a")).unwrap();
            assert_eq!(outbound.buffered(), len);
        }
    }

    #[test]
    fn a_pong_that_is_too_long_is_an_error_however_many_wait() {
        let mut outbound = server(Config::new());
        for _ in 0..1000 {
            let long = outbound.pong(Bytes::from_static(&[0; 126]));
            assert_eq!(long, Err(SendError::Control(126)));
            outbound.pong(Bytes::from_static(&[0; 125])).unwrap();
        }
    }

    #[test]
    fn the_last_pong_answers_the_latest_ping() {
        let mut outbound = server(Config::new());
        outbound.message(hundred());
        outbound.advance(1);
        for number in 0..100_u8 {
            outbound.pong(Bytes::from(vec![number; 125])).unwrap();
        }
        // Makes room, but not for everything that waits.
        outbound.advance(2000);
        outbound.pong(Bytes::from_static(b"latest")).unwrap();
        assert!(drain(&mut outbound).ends_with(b"\x8a\x06latest"));
    }

    #[test]
    fn a_control_frame_between_two_frames_leaves_no_empty_slice() {
        for written in 0..=300 {
            let mut outbound = server(Config::new().fragment_size(1));
            outbound.message(hundred());
            outbound.advance(written);
            outbound.pong(Bytes::new()).unwrap();
            let wire = drain(&mut outbound);
            assert_eq!(wire.len(), 302 - written);
            let boundary = written.div_ceil(3) * 3 - written;
            assert_eq!(&wire[boundary..boundary + 2], b"\x8a\x00", "{written}");
        }
    }

    #[test]
    fn a_directly_written_frame_is_completed_however_much_of_it_was_taken() {
        for taken in [0, 1, 2, 3, 6] {
            let mut outbound = server(Config::new());
            let mut room = [0; 32];
            let frame = outbound.encode_direct(&Message::from("four"), &mut room).unwrap().to_vec();
            outbound.direct_written(&frame, taken);
            assert_eq!(outbound.sent(), taken as u64);
            outbound.ping(b"").unwrap();
            outbound.message(Message::from("next"));
            let mut wire = frame[..taken].to_vec();
            wire.append(&mut drain(&mut outbound));
            let ping_first = taken == 0;
            let expected: &[u8] = if ping_first {
                b"\x89\x00\x81\x04four\x81\x04next"
            } else {
                b"\x81\x04four\x89\x00\x81\x04next"
            };
            assert_eq!(wire, expected, "{taken} bytes were taken");
        }
    }

    #[test]
    fn no_direct_write_overtakes_the_buffer_or_follows_a_close_frame() {
        let hello = Message::from("hello");
        let mut room = [0; 32];
        let mut outbound = server(Config::new());
        outbound.message(hello.clone());
        assert!(outbound.encode_direct(&hello, &mut room).is_none());
        drain(&mut outbound);
        assert!(outbound.encode_direct(&hello, &mut room).is_some());
        outbound.close(CloseFrame::of(StatusCode::NORMAL_CLOSURE, ""));
        drain(&mut outbound);
        assert!(
            outbound.encode_direct(&hello, &mut room).is_none() && !outbound.push_short(&hello)
        );
        assert!(server(Config::new().fragment_size(3)).encode_direct(&hello, &mut room).is_none());
    }

    fn outbound(role: Role, compression: Option<Compression>) -> Outbound {
        let config = Config::new().compression(compression.unwrap_or_default());
        Outbound::new(role, &config, compression.map(|_| Params::default()))
    }

    /// Sends frames and checks the result of the last.
    #[track_caller]
    fn check_frames(role: Role, frames: &[Frame], outcome: Result<(), SendError>) {
        let mut outbound = outbound(role, None);
        let (last, before) = frames.split_last().unwrap();
        for frame in before {
            outbound.frame(frame).unwrap();
        }
        let len = outbound.buffered();
        assert_eq!(outbound.frame(last), outcome);
        assert_eq!(outbound.buffered() == len, outcome.is_err(), "a rejected frame is not queued");
    }

    #[test]
    fn raw_frames_are_validated_as_the_peer_does() {
        let refused = |error| Err(SendError::Frame(error));
        let more = || Frame::new(OpCode::CONTINUATION, "x");
        let rows = [
            (vec![Frame::text("x")], Ok(())),
            (vec![Frame::text("x").fin(false), more()], Ok(())),
            (vec![Frame::text("x").fin(false), Frame::ping("x")], Ok(())),
            (vec![Frame::text("x").fin(false), more().fin(false), more()], Ok(())),
            (vec![Frame::text("x").fin(false), more(), Frame::text("x")], Ok(())),
            (vec![more()], refused(ProtocolError::NothingToContinue)),
            (
                vec![Frame::binary("x").fin(false), Frame::binary("x")],
                refused(ProtocolError::MessageUnfinished),
            ),
            (vec![Frame::text("x").rsv1(true)], refused(ProtocolError::ReservedBits)),
            (vec![Frame::text("x").rsv2(true)], refused(ProtocolError::ReservedBits)),
            (vec![Frame::ping("x").fin(false)], refused(ProtocolError::FragmentedControl)),
            (vec![Frame::ping(vec![0; 126])], refused(ProtocolError::ControlTooLong)),
            (vec![Frame::text("x").non_minimal_len()], refused(ProtocolError::LengthNotMinimal)),
            (vec![Frame::new(OpCode::from_u8(3), "")], refused(ProtocolError::ReservedOpcode(3))),
            (vec![Frame::text("x").declared_len(2)], Err(SendError::Length(2))),
        ];
        for role in [Role::Client, Role::Server] {
            for (frames, outcome) in &rows {
                check_frames(role, frames, *outcome);
            }
        }
        let key = [1, 2, 3, 4];
        check_frames(Role::Client, &[Frame::text("x").masked_with(key)], Ok(()));
        check_frames(
            Role::Client,
            &[Frame::text("x").unmasked()],
            refused(ProtocolError::Unmasked),
        );
        check_frames(Role::Server, &[Frame::text("x").unmasked()], Ok(()));
        check_frames(
            Role::Server,
            &[Frame::text("x").masked_with(key)],
            refused(ProtocolError::Masked),
        );
    }

    #[test]
    fn raw_text_is_checked_across_frames() {
        let begin = |text: &[u8]| Frame::new(OpCode::TEXT, text.to_vec()).fin(false);
        let more = |text: &[u8]| Frame::new(OpCode::CONTINUATION, text.to_vec());
        check_frames(Role::Server, &[begin(b"\xc3"), more(b"\xa9")], Ok(()));
        check_frames(Role::Server, &[begin(b"\xc3"), more(b"")], Err(SendError::NotUtf8));
        check_frames(Role::Server, &[begin(b"\xc3"), more(b"x")], Err(SendError::NotUtf8));
        let open = more(b"\xe4").fin(false);
        check_frames(Role::Server, &[begin(b"x"), open, more(b"x")], Err(SendError::NotUtf8));
        let binary = Frame::binary("\u{e9}").fin(false);
        check_frames(Role::Server, &[binary, more(b"\xff")], Ok(()));
    }

    #[test]
    fn compressed_raw_frames_need_no_context_takeover() {
        let frame = Frame::binary("x").rsv1(true);
        let mut free = outbound(Role::Server, Some(Compression::no_context_takeover()));
        assert_eq!(free.frame(&frame), Ok(()));
        let mut kept = outbound(Role::Server, Some(Compression::context_takeover()));
        assert_eq!(kept.frame(&frame), Err(SendError::Frame(ProtocolError::ReservedBits)));
    }

    #[test]
    fn unchecked_frames_are_sent_unchanged() {
        let mut outbound = outbound(Role::Server, None);
        let frame = Frame::text("x").rsv3(true).declared_len(9).masked_with([0; 4]);
        outbound.frame_unchecked(&frame);
        let mut slices = [IoSlice::new(&[])];
        assert_eq!(outbound.slices(&mut slices), 1);
        assert_eq!(*slices[0], frame.encode()[..]);
        assert!(!outbound.is_streaming());
    }
}
