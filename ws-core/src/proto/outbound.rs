//! How do messages become bytes?

use bytes::Bytes;

use super::compressor::Compressor;
use super::open_stream::{OpenStream, opcode_of};
use super::{CloseFrame, Queue, Role, short};
use crate::deflate::{DeflateError, Params};
use crate::frame::{Header, MAX_CONTROL_PAYLOAD, Mask, OpCode};
use crate::utf8::Utf8;
use crate::{Config, Message, MessageType, PreparedMessage, SendError};

/// Pongs that wait for the transport beyond this many bytes replace each other: only
/// the answer to the latest ping is owed (RFC 6455 §5.5.3).
const MAX_WAITING_PONGS: usize = 4 * 1024;

/// The half of the protocol that faces the application.
#[derive(Debug)]
pub struct Outbound {
    pub(super) role: Role,
    /// Does a message go out as it is: uncompressed, in one piece? None does after a
    /// close frame.
    plain: bool,
    pub(super) queue: Queue,
    /// How many bytes the transport has taken.
    pub(super) sent: u64,
    pub(super) stream: Option<OpenStream>,
    /// Has a close frame been queued?
    pub(super) closed: bool,
    /// How many frames were queued beside the first of each message.
    pub(super) extra_frames: u32,
    /// Apart, since it is empty for nearly all of the time.
    pub(super) rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) compressor: Option<Compressor>,
    /// Where longer messages are cut.
    fragment_size: Option<usize>,
    /// A pong that replaced others: the latest of too many.
    pong: Option<Bytes>,
    close: Option<CloseFrame>,
    /// Has the close frame overtaken the data already?
    hurried: bool,
    /// The text that crafted frames have begun.
    pub(super) text: Option<Utf8>,
}

/// What comes behind a piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// More; a compressor may hold some of it back.
    More,
    /// More, but the peer is to have this by now.
    Flush,
    /// The end of the message.
    End,
}

impl Outbound {
    /// Nothing sent yet.
    pub fn new(role: Role, config: &Config, compression: Option<Params>) -> Self {
        let compressor = compression.map(|params| Compressor::new(role, config, params));
        let fragment_size = config.fragment_size;
        let plain = compressor.is_none() && fragment_size.is_none();
        let rare = || Box::new(Rare { compressor, fragment_size, ..Rare::default() });
        Self {
            role,
            plain,
            queue: Queue::new(config.buffer_pool.clone()),
            sent: 0,
            stream: None,
            closed: false,
            extra_frames: 0,
            rare: (!plain).then(rare),
        }
    }

    /// Queues a whole message. Not to be called while a stream is open, nor after a
    /// close frame, when it does nothing.
    #[inline]
    pub fn message(&mut self, message: Message) {
        if self.closed {
            return;
        }
        if self.push_short(&message) {
            return;
        }
        let opcode = opcode_of(message.kind());
        if let Some(compressor) = self.compressor()
            && let Some(payload) = compressor.compress(&message)
        {
            return self.frames(opcode, true, payload);
        }
        self.frames(opcode, false, message.into_bytes());
    }

    /// Queues a message that is short and goes as it is, and says whether it is. To be
    /// called only when [`message`](Self::message) may be.
    #[inline]
    pub fn push_short(&mut self, message: &Message) -> bool {
        let opcode = opcode_of(message.kind());
        self.plain && self.queue.push_short(opcode, self.mask(), message.as_bytes())
    }

    /// The frame of a message that need not be queued, written to `room`: it is short,
    /// goes as it is, and nothing waits before it. `None` when it is not so. What
    /// becomes of the frame is told to [`took`]X).
    #[inline]
    pub fn encode_direct<'a>(&self, message: &Message, room: &'a mut [u8]) -> Option<&'a [u8]> {
        if !self.plain || !self.queue.is_empty() {
            return None;
        }
        short::frame(opcode_of(message.kind()), self.mask(), message.as_bytes(), room)
    }

    /// Notes that the transport took the first `taken` bytes of a [`encode_direct`](Self::encode_direct)
    /// frame. The rest of it is queued.
    #[inline]
    pub fn direct_written(&mut self, frame: &[u8], taken: usize) {
        self.sent += taken as u64;
        if taken < frame.len() {
            self.queue.push_begun(frame, taken);
        }
    }

    /// As [`message`](Self::message), of one that goes to many.
    pub fn prepared(&mut self, prepared: &PreparedMessage) {
        let message = prepared.message();
        if self.plain && self.role == Role::Server {
            if self.queue.push_ready(prepared.header(), message.as_bytes()) {
                return;
            }
        } else if self.closed || self.push_short(message) {
            return;
        }
        let deflated = match self.compressor() {
            // It refers to what went before, so nobody else can use it.
            Some(compressor) if compressor.takeover => return self.message(message.clone()),
            Some(compressor) => compressor.compress_once(prepared),
            None => None,
        };
        let payload = deflated.as_deref().unwrap_or(message.as_bytes());
        let share = || deflated.clone().unwrap_or_else(|| message.to_bytes());
        if payload.len() > self.fragment_size() {
            return self.frames(opcode_of(message.kind()), deflated.is_some(), share());
        }
        let header = Header::new(true, opcode_of(message.kind()), payload.len() as u64);
        let header = Header { rsv1: deflated.is_some(), mask: self.mask(), ..header };
        self.queue.push_shared(&header, payload, share);
    }

    /// Opens a message that comes piece by piece.
    pub fn begin(&mut self, kind: MessageType, compress: bool) {
        let compressed = compress && self.compressor().is_some();
        self.stream = Some(OpenStream::new(kind, compressed));
    }

    /// Queues the next piece of the open message, as a frame of its own.
    ///
    /// # Errors
    ///
    /// When the compressor fails, which is not known to happen. The message cannot be
    /// finished then.
    pub fn piece(&mut self, piece: &[u8], then: PieceKind) -> Result<(), DeflateError> {
        let Some(stream) = self.stream else { return Ok(()) };
        let last = then == PieceKind::End;
        let mut deflated = Vec::new();
        let payload = match self.compressor() {
            Some(compressor) if stream.is_deflated() => {
                let deflater = &mut compressor.deflater;
                deflater.push(piece, &mut deflated)?;
                match then {
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
        self.stream = if last { None } else { Some(stream.begun()) };
        if self.closed {
            return Ok(());
        }
        let mut opcode = stream.opcode();
        let mut rsv1 = stream.is_deflated() && !stream.has_begun();
        let mut rest = payload;
        loop {
            self.count_extra(opcode == OpCode::CONTINUATION);
            let len = rest.len().min(self.fragment_size());
            let (piece, after) = rest.split_at(len);
            let header = Header::new(last && after.is_empty(), opcode, piece.len() as u64);
            let header = Header { rsv1, mask: self.mask(), ..header };
            self.queue.push_copied(&header, piece);
            if after.is_empty() {
                return Ok(());
            }
            (rest, opcode, rsv1) = (after, OpCode::CONTINUATION, false);
        }
    }

    /// Is a message being sent piece by piece?
    pub const fn is_streaming(&self) -> bool {
        self.stream.is_some()
    }

    /// Queues a ping. It overtakes data. Does nothing after a close frame.
    ///
    /// # Errors
    ///
    /// When the payload is longer than 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.control(OpCode::PING, payload)
    }

    /// Queues a pong. It overtakes data, and replaces older pongs when too many
    /// wait. Does nothing after a close frame.
    ///
    /// # Errors
    ///
    /// When the payload is longer than 125 bytes.
    pub fn pong(&mut self, payload: Bytes) -> Result<(), SendError> {
        // One that waits already is replaced, too: it must not come behind a later one.
        let waits = self.rare.as_ref().is_some_and(|rare| rare.pong.is_some());
        if waits || self.queue.urgent_len() > MAX_WAITING_PONGS {
            if payload.len() > MAX_CONTROL_PAYLOAD {
                return Err(SendError::Control(payload.len()));
            }
            self.rare.get_or_insert_default().pong = Some(payload);
            return Ok(());
        }
        self.control(OpCode::PONG, &payload)
    }

    /// Queues a close frame behind what was queued before. Only the first counts.
    pub fn close(&mut self, frame: CloseFrame) {
        if !self.closed {
            let payload = frame.encode();
            let header = self.control_header(OpCode::CLOSE, &payload);
            self.queue.push_copied(&header, &payload);
            self.note_close(frame);
        }
    }

    /// Queues a close frame before what was queued, which is dropped: the connection
    /// has failed (RFC 6455 §7.1.7). Only the first close frame counts.
    pub fn fail(&mut self, frame: CloseFrame) {
        if !self.closed {
            self.note_close(frame);
            self.close_first();
        }
    }

    fn note_close(&mut self, frame: CloseFrame) {
        self.count_extra(true);
        self.rare.get_or_insert_default().close = Some(frame);
        (self.closed, self.plain) = (true, false);
    }

    /// Lets the close frame overtake the data that it waits behind, which is dropped.
    pub fn prioritize_close(&mut self) {
        let Some(close) = self.close_frame() else { return };
        let payload = close.encode();
        let frame = self.control_header(OpCode::CLOSE, &payload).encode().as_slice().len();
        // No longer than the close frame itself: it is leaving already.
        if self.queue.len() > frame + payload.len() {
            self.close_first();
        }
    }

    /// The close frame that was queued, if one was.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.rare.as_ref()?.close.as_ref()
    }

    /// The bytes that wait to be written.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether no bytes wait to be written.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The number of bytes that wait to be written.
    #[inline]
    pub fn buffered(&self) -> usize {
        self.queue.len()
    }

    /// The number of control frame bytes that wait ahead of the data.
    #[inline]
    pub fn urgent_len(&self) -> usize {
        self.queue.urgent_len()
    }

    /// Fills `slices` with the bytes to write next. Returns the number of slices filled.
    pub fn slices<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        self.queue.slices(slices)
    }

    /// Notes that the transport took `count` bytes.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.sent += count as u64;
        self.queue.advance(count);
        if self.rare.is_some() && self.queue.urgent_len() == 0 {
            self.latest_pong();
        }
    }

    /// Drops what waits: there is no transport to take it.
    pub fn clear(&mut self) {
        self.queue.clear();
        if let Some(rare) = &mut self.rare {
            rare.pong = None;
        }
    }

    /// Takes what waits, to be written by somebody else.
    pub fn take_queue(&mut self) -> Queue {
        std::mem::take(&mut self.queue)
    }

    #[cold]
    fn latest_pong(&mut self) {
        let pong = self.rare.as_mut().and_then(|rare| rare.pong.take());
        if let Some(payload) = pong {
            // It was measured when it was put there.
            let _ = self.control(OpCode::PONG, &payload);
        }
    }

    fn control(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), SendError> {
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(SendError::Control(payload.len()));
        }
        if !self.closed {
            let header = self.control_header(opcode, payload);
            self.queue.push_urgent(&header, payload);
            self.count_extra(true);
        }
        Ok(())
    }

    fn close_first(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        rare.pong = None;
        let hurried = std::mem::replace(&mut rare.hurried, true);
        let Some(close) = rare.close.as_ref().filter(|_| !hurried) else { return };
        let payload = close.encode();
        let header = self.control_header(OpCode::CLOSE, &payload);
        self.queue.clear_data();
        self.queue.push_urgent(&header, &payload);
    }

    fn control_header(&self, opcode: OpCode, payload: &[u8]) -> Header {
        Header { mask: self.mask(), ..Header::new(true, opcode, payload.len() as u64) }
    }

    pub(super) fn compressor(&mut self) -> Option<&mut Compressor> {
        self.rare.as_mut()?.compressor.as_mut()
    }

    /// How long a frame may be.
    fn fragment_size(&self) -> usize {
        self.rare.as_ref().and_then(|rare| rare.fragment_size).unwrap_or(usize::MAX)
    }

    #[inline]
    fn frames(&mut self, opcode: OpCode, rsv1: bool, payload: Bytes) {
        let size = self.fragment_size();
        if payload.len() > size {
            return self.fragments(opcode, rsv1, payload, size);
        }
        let header = Header { rsv1, ..Header::new(true, opcode, payload.len() as u64) };
        self.queue.push(&Header { mask: self.mask(), ..header }, payload);
    }

    fn fragments(&mut self, opcode: OpCode, rsv1: bool, mut payload: Bytes, size: usize) {
        let (mut opcode, mut rsv1) = (opcode, rsv1);
        loop {
            let piece = payload.split_to(size.min(payload.len()));
            let fin = payload.is_empty();
            let header = Header::new(fin, opcode, piece.len() as u64);
            self.queue.push(&Header { rsv1, mask: self.mask(), ..header }, piece);
            if fin {
                return;
            }
            (opcode, rsv1) = (OpCode::CONTINUATION, false);
            self.count_extra(true);
        }
    }

    /// A new masking key for every frame of a client (RFC 6455 §5.3).
    #[inline]
    pub(super) fn mask(&self) -> Option<Mask> {
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
    use crate::StatusCode;

    /// Takes what waits, one slice at a time.
    fn drain(outbound: &mut Outbound) -> Vec<u8> {
        let mut wire = Vec::new();
        while !outbound.is_empty() {
            let mut slices = [IoSlice::new(&[]); 1];
            assert_eq!(outbound.slices(&mut slices), 1);
            let taken = slices[0].to_vec();
            assert!(!taken.is_empty(), "the transport would take nothing, and be taken for dead");
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
    fn there_is_one_close_frame_however_it_is_hurried() {
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
    fn the_last_pong_answers_the_latest_ping() {
        let mut outbound = server(Config::new());
        outbound.message(hundred());
        outbound.advance(1);
        for number in 0..100_u8 {
            outbound.pong(Bytes::from(vec![number; 125])).unwrap();
        }
        // Room again, but not for all that waits.
        outbound.advance(2000);
        outbound.pong(Bytes::from_static(b"latest")).unwrap();
        assert!(drain(&mut outbound).ends_with(b"\x8a\x06latest"));
    }

    #[test]
    fn a_control_frame_between_two_frames_leaves_nothing_empty() {
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
    fn a_lone_frame_is_whole_however_much_of_it_was_taken() {
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
    fn no_frame_passes_what_waits_nor_leaves_after_a_close() {
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
}
