//! How do received bytes become messages, and what is kept between two reads?
//!
//! The reader parses bytes, and reports the result as a [`ReadEvent`]; it changes only its own
//! state. The [`Connection`](crate::conn::driver::connection::Connection) decides what follows from
//! an event. The reader stores everything that was received and not delivered. Futures store none
//! of it.
//!
//! Longer than 400 lines because the reading side is read from top to bottom.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::task::coop;

use crate::conn::driver::cold_state::{ColdState, Hook, Hooks};
use crate::conn::driver::deadlines::Deadlines;
use crate::conn::driver::pending_pings::PendingPings;
use crate::conn::driver::rate_limits::{Arrival, RateMeter};
use crate::conn::driver::read_ahead::{AheadItem, READ_AHEAD};
use crate::conn::driver::read_buffer::{ReadBuffer, ThreadBuffer};
use crate::conn::driver::state::ReadMode;
use crate::conn::driver::transport::ReadHalf;
use crate::conn::driver::turn_state::TurnState;
use crate::conn::driver::wait_queue::{Operation, WaiterId, Waiters};
use crate::conn::info::kept_request::KeptRequest;
use crate::conn::info::metrics::ConnMetrics;
use crate::conn::runtime::turn_queue::Place;
use crate::frame::{Frame, OpCode};
use crate::proto::{
    CloseFrame, Failure, FastPath, Inbound, Mode, ProtocolEvent, RateLimiter, Received, Turn,
};
use crate::{Error, Message, MessageType, ProtocolError};

/// The most bytes of a long payload that are read at once.
const MAX_DIRECT: usize = 256 * 1024;

/// After this many bytes of a long message, other connections that read a long message continue.
const STREAK: usize = 1024 * 1024;

/// The reading side of a connection.
pub(crate) struct Reader {
    /// `None` when the connection has ended and nothing is left to read.
    pub(crate) io: Option<ReadHalf>,
    pub(crate) inbound: Inbound,
    pub(crate) waiters: Waiters,
    pub(crate) pings: PendingPings,
    pub(crate) deadlines: Deadlines,
    pub(crate) cold: Option<Box<ColdState>>,
    pub(crate) mode: ReadMode,
    /// Whether the watch list has this connection.
    pub(crate) watched: bool,
    /// The last read took all that the transport had.
    drained: bool,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// The request that the connection began with. It is here because of the lock.
    pub(crate) request: Option<Arc<KeptRequest>>,
    /// What was handed over as metrics.
    pub(crate) metrics: ConnMetrics,
    buffer: ReadBuffer,
    /// The part of the turn that is left. Beside its state, since both together would be larger.
    turn: Turn,
    turn_state: TurnState,
}

/// What an operation reads.
pub(crate) enum ReadItem {
    /// A whole message, or the end of one that is read in pieces.
    Message(Message),
    /// A piece, to be taken from `inbound`.
    Piece,
    /// A frame, to be taken from `inbound` or, if it is a control frame, from `cold`.
    Frame,
}

/// What the reader has found in the input.
pub(crate) enum ReadEvent {
    Item(ReadItem),
    /// The input is used up.
    NeedInput,
    /// A ping that is to be answered.
    Ping(Bytes),
    /// A hook that has to run before the input that follows.
    RunHook,
    /// Other tasks have to run before the input that follows.
    EndTurn,
    /// The peer's close frame. Nothing follows it.
    Close(CloseFrame),
    /// The peer violates the protocol, or exceeds a limit.
    Failed(Failure),
}

/// What a read from the transport has brought.
pub(crate) enum Filled {
    /// This many bytes, in the buffer that was lent, with those that were kept before.
    Lent(usize),
    /// Bytes of a long payload, in their place; what follows them is kept.
    Direct,
    /// The payload of a text message is not UTF-8.
    Failed(Failure),
    /// The transport has ended.
    Ended(Error),
    /// There is no transport: the connection has ended.
    Detached,
}

/// The result of the fast path.
pub(crate) enum FastRead {
    /// A whole message.
    Message(Message),
    /// Something else, for the slow path; nothing was read.
    Fallback,
    /// Something else, for the slow path; this many bytes were read.
    Other(usize),
    /// A text message that is not UTF-8.
    NotUtf8,
    /// The transport has ended, with this error if it has failed.
    Ended(Option<io::Error>),
}

impl Reader {
    pub(crate) fn new(
        io: ReadHalf,
        inbound: Inbound,
        rates: Option<RateLimiter>,
        deadlines: Deadlines,
        leftover: &Bytes,
        metrics: ConnMetrics,
    ) -> Self {
        let cold = rates.map(|rates| {
            Box::new(ColdState { rates: Some(RateMeter::new(rates)), ..ColdState::default() })
        });
        Self {
            io: Some(io),
            inbound,
            waiters: Waiters::default(),
            pings: PendingPings::default(),
            deadlines,
            cold,
            mode: ReadMode::Messages,
            watched: false,
            drained: false,
            messages: 0,
            bytes: leftover.len() as u64,
            request: None,
            metrics,
            buffer: ReadBuffer::new(leftover),
            turn: Turn::new(),
            turn_state: TurnState::Short,
        }
    }

    /// Whether the fast path applies: nothing but the next message has to be handled.
    #[inline]
    pub(crate) fn is_common(&self, id: &WaiterId) -> bool {
        !self.turn.is_over()
            && self.mode == ReadMode::Messages
            && self.cold.is_none()
            && self.waiters.is_alone(id)
    }

    /// Whether there is input to look at before the transport is read.
    #[inline]
    pub(crate) fn has_input(&self) -> bool {
        !self.buffer.is_empty() || self.inbound.is_inside_frame()
    }

    /// The fast path: a message that is buffered whole. `more` is set to whether another whole
    /// frame is buffered behind it.
    #[inline]
    pub(crate) fn next_buffered(&mut self, more: &AtomicBool) -> FastRead {
        let input = self.buffer.as_mut_slice();
        match self.inbound.fast_path(input) {
            FastPath::Message(whole) => {
                more.store(self.inbound.is_ready(whole.rest), Relaxed);
                let (left, message) = (whole.rest.len(), whole.message());
                self.buffer.keep(left);
                self.note_message();
                FastRead::Message(message)
            }
            FastPath::NotUtf8 => FastRead::NotUtf8,
            FastPath::Other => FastRead::Fallback,
        }
    }

    /// Waits until the transport may have bytes. This takes no buffer, and the transport most
    /// likely has none yet.
    #[inline]
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.io {
            Some(io) if std::mem::take(&mut self.drained) => io.poll_ready(cx),
            Some(_) | None => Poll::Ready(Ok(())),
        }
    }

    /// The fast path: reads the transport once, when nothing is buffered, and takes a message
    /// that has arrived whole. `more` is set to whether another whole frame has arrived.
    #[inline]
    pub(crate) fn poll_fast(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
        more: &AtomicBool,
    ) -> Poll<FastRead> {
        let Some(io) = &mut self.io else { return Poll::Ready(FastRead::Fallback) };
        let filled = match ready!(io.poll_take(cx, room)) {
            Ok(filled) if filled > 0 => filled,
            Ok(_) => return Poll::Ready(FastRead::Ended(None)),
            Err(error) => return Poll::Ready(FastRead::Ended(Some(error))),
        };
        self.heard(filled);
        self.drained = filled < room.len();
        let input = room.get_mut(..filled).unwrap_or_default();
        let whole = match self.inbound.fast_path(input) {
            FastPath::Message(whole) => whole,
            FastPath::NotUtf8 => return Poll::Ready(FastRead::NotUtf8),
            FastPath::Other => return Poll::Ready(FastRead::Other(filled)),
        };
        let mut is_ready = false;
        if !whole.rest.is_empty() {
            is_ready = self.inbound.is_ready(whole.rest);
            self.buffer = ReadBuffer::new(whole.rest);
        }
        more.store(is_ready, Relaxed);
        self.note_message();
        Poll::Ready(FastRead::Message(whole.message()))
    }

    /// Reads the transport once. When it has bytes again, it wakes every operation that waits.
    #[inline]
    pub(crate) fn poll_fill(
        &mut self,
        op: &mut Operation<'_, '_>,
        mode: Mode,
        lent: &mut ThreadBuffer,
    ) -> Poll<Filled> {
        if let Some(meter) = self.meter() {
            meter.end_silence();
            let arrival = Arrival::new(op.cx.waker().clone());
            let waker = Waker::from(Arc::clone(&arrival));
            let cx = &mut Context::from_waker(&waker);
            let polled =
                self.poll_fill_for_all(&mut Operation { cx, id: op.id, ..*op }, mode, lent);
            // Without coop budget, tokio reports that nothing can be read when something can.
            if polled.is_pending()
                && coop::has_budget_remaining()
                && let Some(meter) = self.meter()
            {
                meter.begin_silence(arrival);
            }
            return polled;
        }
        self.poll_fill_for_all(op, mode, lent)
    }

    #[inline]
    fn poll_fill_for_all(
        &mut self,
        op: &mut Operation<'_, '_>,
        mode: Mode,
        lent: &mut ThreadBuffer,
    ) -> Poll<Filled> {
        if !self.waiters.is_alone(op.id)
            && let Some(all) = self.waiters.combined(op.id, op.cx.waker())
        {
            return self.poll_fill_once(&mut Context::from_waker(&all), mode, lent);
        }
        self.poll_fill_once(op.cx, mode, lent)
    }

    #[inline]
    fn poll_fill_once(
        &mut self,
        cx: &mut Context<'_>,
        mode: Mode,
        lent: &mut ThreadBuffer,
    ) -> Poll<Filled> {
        let Some(io) = &mut self.io else { return Poll::Ready(Filled::Detached) };
        if self.buffer.is_empty()
            && let Some(mut place) = self.inbound.read_target(mode)
        {
            place.set_limit(place.limit().min(MAX_DIRECT));
            return Poll::Ready(match ready!(pin!(io.read_buf(&mut place)).poll(cx)) {
                Ok(0) => Filled::Ended(Error::abnormal()),
                Err(error) => Filled::Ended(Error::from_io(error)),
                Ok(count) => self.filled_directly(count),
            });
        }
        let kept = self.buffer.as_slice().len();
        let mut buf = ReadBuf::new(lent.bytes());
        if kept > 0 {
            // Never more than a control frame: data is consumed as it arrives.
            let room = buf.remaining().saturating_sub(1).min(kept);
            buf.put_slice(self.buffer.as_slice().get(..room).unwrap_or_default());
        }
        Poll::Ready(match ready!(Pin::new(io).poll_read(cx, &mut buf)) {
            Ok(()) if buf.filled().len() == kept => Filled::Ended(Error::abnormal()),
            Ok(()) => {
                let filled = buf.filled().len();
                self.buffer = ReadBuffer::default();
                self.heard(filled.saturating_sub(kept));
                Filled::Lent(filled)
            }
            Err(error) => Filled::Ended(Error::from_io(error)),
        })
    }

    fn filled_directly(&mut self, count: usize) -> Filled {
        self.note_arrival(count);
        self.turn_state.payload(&mut self.turn, count);
        let committed = self.inbound.commit_read(count);
        if self.is_tcp() {
            self.inbound.note_long();
        }
        match committed {
            Ok(behind) => {
                self.buffer = ReadBuffer::new(&behind);
                Filled::Direct
            }
            Err(fault) => Filled::Failed(fault),
        }
    }

    /// Takes the buffered input out, to be looked at.
    pub(crate) fn take_input(&mut self) -> ReadBuffer {
        std::mem::take(&mut self.buffer)
    }

    /// Puts the buffered input back, of which `used` bytes are consumed.
    pub(crate) fn put_back(&mut self, mut buffer: ReadBuffer, used: usize) {
        buffer.keep(buffer.as_slice().len().saturating_sub(used));
        self.buffer = buffer;
    }

    /// Keeps input that is not consumed.
    pub(crate) fn keep_input(&mut self, input: &[u8]) {
        if !input.is_empty() {
            self.buffer = ReadBuffer::new(input);
        }
    }

    /// Drops all input.
    pub(crate) fn clear_input(&mut self) {
        self.buffer = ReadBuffer::default();
    }

    /// The buffered input.
    pub(crate) fn input(&self) -> &[u8] {
        self.buffer.as_slice()
    }

    /// Looks at input until there is something to report, and adds to `used` how much of it
    /// was consumed.
    #[inline]
    pub(crate) fn next_event(
        &mut self,
        input: &mut [u8],
        used: &mut usize,
        mode: Mode,
    ) -> ReadEvent {
        loop {
            let rest = input.get_mut(*used..).unwrap_or_default();
            let by_frame = self.inbound.is_frame_mode();
            let received = self.inbound.receive_in_turn(rest, mode, &mut self.turn);
            let received = match received.and_then(|received| self.count(received)) {
                Ok(received) => received,
                Err(fault) => return ReadEvent::Failed(fault),
            };
            *used += received.consumed;
            match received.event {
                Some(ProtocolEvent::Message(message)) => match self.mode {
                    ReadMode::Messages | ReadMode::Streaming => {
                        return ReadEvent::Item(ReadItem::Message(message));
                    }
                    ReadMode::Refusing | ReadMode::StreamingLast => {
                        return ReadEvent::Failed(ProtocolError::UnexpectedMessage.into());
                    }
                    ReadMode::Discarding => {}
                },
                Some(ProtocolEvent::Ping(payload)) => {
                    if by_frame {
                        self.note_control(OpCode::PING, &payload);
                    }
                    if self.call_hook(|hooks| hooks.ping.clone(), &payload) {
                        return ReadEvent::RunHook;
                    }
                    self.turn.answer();
                    return ReadEvent::Ping(payload);
                }
                Some(ProtocolEvent::Pong(payload)) => {
                    if by_frame {
                        self.note_control(OpCode::PONG, &payload);
                    }
                    if self.pings.answered(&payload) {
                        self.pings.latest().into_iter().for_each(|rtt| self.metrics.rtt(rtt));
                        self.waiters.wake();
                    } else {
                        self.metrics.pong_received(&payload);
                    }
                    if self.call_hook(|hooks| hooks.pong.clone(), &payload) {
                        return ReadEvent::RunHook;
                    }
                    if self.has_control() {
                        return ReadEvent::Item(ReadItem::Frame);
                    }
                }
                Some(ProtocolEvent::Close(frame)) => {
                    if by_frame {
                        self.note_control(OpCode::CLOSE, &frame.encode());
                    }
                    self.call_hook(|hooks| hooks.close.clone(), frame.as_error());
                    return ReadEvent::Close(frame);
                }
                None if self.inbound.has_frame() => {
                    // The rest of a message that was read frame by frame.
                    if self.mode == ReadMode::Refusing && !by_frame {
                        return ReadEvent::Failed(ProtocolError::UnexpectedMessage.into());
                    }
                    return ReadEvent::Item(ReadItem::Frame);
                }
                None if self.inbound.has_piece() && matches!(mode, Mode::Pieces(_)) => {
                    // Its end may never come.
                    if self.mode == ReadMode::Refusing {
                        return ReadEvent::Failed(ProtocolError::UnexpectedMessage.into());
                    }
                    return ReadEvent::Item(ReadItem::Piece);
                }
                None if self.turn.is_over() => {}
                None => return ReadEvent::NeedInput,
            }
            if self.turn.is_over() {
                return ReadEvent::EndTurn;
            }
        }
    }

    /// Applies the rate limits, where there are any.
    #[inline]
    fn count(&mut self, received: Received) -> Result<Received, Failure> {
        if self.cold.is_some() && self.mode != ReadMode::Discarding {
            let has_last_frame = self.inbound.has_last_frame();
            let bytes = self.bytes;
            if let Some(meter) = self.meter() {
                meter.count(bytes, &received, has_last_frame)?;
            }
        }
        Ok(received)
    }

    #[inline]
    fn meter(&mut self) -> Option<&mut RateMeter> {
        self.cold.as_mut()?.rates.as_mut()
    }

    /// Notes that bytes have arrived, at their full cost in the turn.
    #[inline]
    fn heard(&mut self, count: usize) {
        self.note_arrival(count);
        self.turn.bytes(count);
    }

    #[inline]
    fn note_arrival(&mut self, count: usize) {
        self.bytes += count as u64;
        self.deadlines.timers.heard();
    }

    /// Notes that a message is delivered.
    #[inline]
    pub(crate) fn note_message(&mut self) {
        self.messages += 1;
        self.turn.frame();
        self.deadlines.timers.message();
    }

    /// Whether another whole frame is buffered.
    pub(crate) fn has_whole_frame(&self) -> bool {
        self.inbound.is_ready(self.buffer.as_slice())
    }

    /// An operation waits no longer.
    #[inline]
    pub(crate) fn leave(&mut self, id: &mut WaiterId) {
        if id.is_waiting() {
            self.waiters.leave(id);
            if self.waiters.is_empty() {
                self.deadlines.pause();
            }
        }
    }

    /// Whether other tasks have to run before more is handled.
    #[inline]
    pub(crate) const fn is_turn_over(&self) -> bool {
        self.turn.is_over()
    }

    /// Begins a new turn: the operation waits for the transport. Behind a long message, that turn is
    /// over before it reads anything, and a long one follows: the next message is likely to be long.
    #[inline]
    pub(crate) const fn begin_turn(&mut self) {
        self.turn = if self.inbound.was_long() { Turn::over() } else { Turn::new() };
        self.turn_state = TurnState::Short;
    }

    /// Ends the turn. The next one begins with [`begin_queued_turn`](Self::begin_queued_turn).
    pub(crate) fn end_turn(&mut self) {
        self.turn_state.end(&mut self.turn);
    }

    /// Whether the connection has to enter the turn queue.
    #[inline]
    pub(crate) fn has_ended_turn(&self) -> bool {
        self.turn_state == TurnState::Ended
    }

    /// Where the connection enters the turn queue, if it has to.
    pub(crate) fn enter_turn_queue(&mut self) -> Option<Place> {
        self.turn_state.enter_queue().then(|| self.place())
    }

    /// Begins the turn that the connection waits for in the queue, unless the watch has begun one, and
    /// wakes its operations. A message that is long, or likely to be, gets a long turn.
    ///
    /// Only over TCP: a read of another transport may also decrypt.
    pub(crate) fn begin_queued_turn(&mut self) {
        if self.turn_state == TurnState::Queued {
            let was_long = self.inbound.take_was_long();
            let is_long = was_long || Turn::is_exceeded_by(self.inbound.bytes_needed());
            (self.turn_state, self.turn) = TurnState::next(is_long && self.is_tcp());
        }
        self.waiters.wake();
    }

    const fn is_tcp(&self) -> bool {
        matches!(self.io, Some(ReadHalf::Tcp(_)))
    }

    /// Begins a turn that reads at once.
    pub(crate) const fn begin_short_turn(&mut self) {
        self.turn = Turn::new();
        self.turn_state = TurnState::Short;
    }

    /// Drops the messages that arrive from now on: this side has closed.
    pub(crate) fn discard(&mut self) {
        self.mode = ReadMode::Discarding;
        self.drop_ahead();
        self.inbound.discard_all();
    }

    /// How many items are read ahead.
    pub(crate) fn ahead_len(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.ahead.len())
    }

    /// How messages are read ahead: in pieces if they may have any length, or if a
    /// `MessageReader` waits for them.
    pub(crate) fn ahead_mode(&self) -> Mode {
        let is_open = self.mode.is_streaming() && self.ahead_len() == 0;
        if is_open || !self.inbound.has_size_limit() {
            Mode::Pieces(READ_AHEAD)
        } else {
            Mode::Whole
        }
    }

    /// Whether no more is read ahead before an operation takes some of it.
    pub(crate) fn is_ahead_full(&self) -> bool {
        // Then nothing is kept: it is dropped, or fails the connection.
        if matches!(self.mode, ReadMode::Discarding | ReadMode::Refusing) {
            return false;
        }
        let is_full = self.cold.as_ref().is_some_and(|cold| cold.ahead.is_full());
        let in_pieces = || matches!(self.ahead_mode(), Mode::Pieces(_)) && self.is_piece_full();
        is_full || in_pieces()
    }

    /// Whether as much of the message has arrived as is read ahead.
    pub(crate) fn is_piece_full(&self) -> bool {
        self.inbound.piece_len() >= READ_AHEAD
    }

    /// Where the connection waits for its next turn.
    fn place(&self) -> Place {
        let is_new = self.inbound.piece_len() % STREAK < 2 * MAX_DIRECT;
        if is_new { Place::Last } else { Place::First }
    }

    /// A number that changes when an operation reads or takes something. It wraps around.
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits change, too")]
    pub(crate) fn progress(&self) -> u32 {
        self.bytes.wrapping_add(self.messages).wrapping_sub(self.ahead_len() as u64) as u32
    }

    /// The type of a message that has begun to arrive, and can be read in pieces.
    pub(crate) fn opening_message(&self) -> Option<MessageType> {
        self.inbound.message_kind().filter(|_| self.mode != ReadMode::Discarding)
    }

    /// How messages are read: those that are dropped need not be read in pieces.
    #[inline]
    pub(crate) fn effective(&self, mode: Mode) -> Mode {
        if self.mode == ReadMode::Discarding { Mode::Whole } else { mode }
    }

    /// What reading returns after the peer's close frame that is not answered yet.
    pub(crate) fn held_close_error(&self) -> Option<Error> {
        let frame = self.cold.as_ref()?.held_close.as_ref()?;
        Some(Error::Closed(frame.as_error().clone()))
    }

    /// Whether a hook is to be called with the peer's close frame.
    pub(crate) fn has_close_hook(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.hooks.close.is_some())
    }

    /// Takes the peer's close frame that is not answered yet.
    pub(crate) fn take_held_close(&mut self) -> Option<CloseFrame> {
        self.cold.as_mut()?.held_close.take()
    }

    pub(crate) fn cold_mut(&mut self) -> &mut ColdState {
        self.cold.get_or_insert_default()
    }

    /// Frees the cold state if it is empty.
    pub(crate) fn shrink_cold(&mut self) {
        if self.cold.as_ref().is_some_and(|cold| cold.is_empty()) {
            self.cold = None;
        }
    }

    /// Keeps an item for the operations that take such items. A piece stays in `inbound`.
    pub(crate) fn keep_ahead(&mut self, item: ReadItem) {
        let item = match item {
            ReadItem::Message(message) => Some(AheadItem::Message(message)),
            ReadItem::Frame => self.take_frame().map(AheadItem::Frame),
            ReadItem::Piece => None,
        };
        if let Some(item) = item {
            self.cold_mut().ahead.push(item);
        }
    }

    /// Takes the oldest item that was read ahead.
    fn take_ahead(&mut self, id: &WaiterId) -> Option<AheadItem> {
        let ahead = &mut self.cold.as_mut()?.ahead;
        let was_full = ahead.is_full();
        let item = ahead.pop()?;
        if was_full {
            // Those that read ahead could not go on.
            self.waiters.wake_others(id);
        }
        self.shrink_cold();
        Some(item)
    }

    /// Takes a message that was read ahead, for an operation that takes whole ones.
    #[inline]
    pub(crate) fn take_message_ahead(&mut self, id: &WaiterId) -> Option<Message> {
        if self.mode.is_streaming() {
            return None;
        }
        self.take_end_ahead(id)
    }

    /// As [`take_message_ahead`](Self::take_message_ahead), also while a `MessageReader` is open:
    /// the end of its message.
    pub(crate) fn take_end_ahead(&mut self, id: &WaiterId) -> Option<Message> {
        loop {
            match self.take_ahead(id)? {
                AheadItem::Message(message) => return Some(message),
                // The rest of a message that was read frame by frame.
                AheadItem::Frame(_) => {}
            }
        }
    }

    /// Takes a frame that was read ahead, or a message as a frame.
    pub(crate) fn take_frame_ahead(&mut self, id: &WaiterId) -> Option<Frame> {
        if self.mode.is_streaming() {
            return None;
        }
        Some(match self.take_ahead(id)? {
            AheadItem::Message(message) => message.into(),
            AheadItem::Frame(frame) => frame,
        })
    }

    /// Drops what was read ahead. Returns whether there was anything.
    pub(crate) fn drop_ahead(&mut self) -> bool {
        let Some(cold) = &mut self.cold else { return false };
        let had_any = !std::mem::take(&mut cold.ahead).is_empty();
        self.shrink_cold();
        had_any
    }

    /// Drops the transport and its input: the connection has ended.
    pub(crate) fn drop_transport(&mut self) {
        self.io = None;
        self.clear_input();
    }

    /// Takes a frame of data, in frame mode.
    pub(crate) fn take_frame(&mut self) -> Option<Frame> {
        let frame = self.inbound.take_frame()?;
        self.messages += u64::from(frame.is_fin());
        self.turn.frame();
        self.deadlines.timers.message();
        Some(frame)
    }

    /// Drops the rest of a message that was read frame by frame, for an operation that takes
    /// whole messages.
    pub(crate) fn leave_frames(&mut self) {
        if self.inbound.is_message_in_frames() {
            self.inbound.discard();
        }
    }

    /// Keeps a control frame for the operation that reads frames.
    fn note_control(&mut self, opcode: OpCode, payload: &[u8]) {
        let frame = Frame::new(opcode, Bytes::copy_from_slice(payload)).unmasked();
        self.cold_mut().control = Some(frame);
    }

    /// Whether a hook is to run when the lock is released.
    pub(crate) fn has_call(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.call.is_some())
    }

    #[inline]
    pub(crate) fn has_control(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.control.is_some())
    }

    pub(crate) fn take_control(&mut self) -> Option<Frame> {
        self.cold.as_mut()?.control.take()
    }

    /// Notes the hook that is to run when the lock is released. Returns whether there is one.
    #[inline]
    fn call_hook<T: Clone + Send + 'static>(
        &mut self,
        hook: impl FnOnce(&Hooks) -> Option<Hook<T>>,
        argument: &T,
    ) -> bool {
        let Some(cold) = &mut self.cold else { return false };
        let Some(hook) = hook(&cold.hooks) else { return false };
        let argument = argument.clone();
        cold.call = Some(Box::new(move || hook(&argument)));
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::conn::driver::transport;
    use crate::proto::Role;
    use crate::{Config, StatusCode};

    /// A reader without a connection, with the peer's end of the stream.
    fn reader() -> (Reader, DuplexStream) {
        let (here, there) = duplex(1024);
        let (read, _, _) = transport::split(here, false, None);
        let config = Config::new();
        let deadlines = Deadlines::new(&config);
        let inbound = Inbound::new(Role::Client, config, None);
        let metrics = ConnMetrics::opened(Role::Client);
        (Reader::new(read, inbound, None, deadlines, &Bytes::new(), metrics), there)
    }

    /// What the reader reports of this input, in order.
    fn events(mode: ReadMode, input: &[u8]) -> Vec<String> {
        let (mut reader, _peer) = reader();
        reader.mode = mode;
        let (mut input, mut used, mut events) = (input.to_vec(), 0, Vec::new());
        loop {
            let event = match reader.next_event(&mut input, &mut used, Mode::Whole) {
                ReadEvent::Item(ReadItem::Message(message)) => format!("{:?}", message.as_text()),
                ReadEvent::Item(ReadItem::Piece | ReadItem::Frame) => "piece".to_owned(),
                ReadEvent::Ping(payload) => format!("ping {payload:?}"),
                ReadEvent::RunHook => "hook".to_owned(),
                ReadEvent::EndTurn => "turn".to_owned(),
                ReadEvent::Close(frame) => format!("close {}", frame.as_error().code.as_u16()),
                ReadEvent::Failed(fault) => format!("failed {fault}"),
                ReadEvent::NeedInput => return events,
            };
            let is_last = event.starts_with("close") || event.starts_with("failed");
            events.push(event);
            if is_last {
                return events;
            }
        }
    }

    #[test]
    fn the_reader_reports_what_it_meets() {
        let input = b"\x89\x01p\x81\x02hi\x8a\x00\x88\x02\x03\xe8\x81\x01x";
        let refused = format!("failed {}", ProtocolError::UnexpectedMessage);
        let close = format!("close {}", StatusCode::NORMAL_CLOSURE.as_u16());
        for (mode, expected) in [
            (ReadMode::Messages, &[r#"ping b"p""#, r#"Some("hi")"#, &close][..]),
            (ReadMode::Refusing, &[r#"ping b"p""#, &refused]),
            (ReadMode::Discarding, &[r#"ping b"p""#, &close]),
        ] {
            assert_eq!(events(mode, input), expected, "{mode:?}");
        }
    }

    #[tokio::test]
    async fn the_fast_path_takes_whole_messages_and_leaves_the_rest() {
        let (mut reader, mut peer) = reader();
        peer.write_all(b"\x81\x01a\x81\x01b\x89\x00").await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut room = [0; 64];
        assert!(reader.is_common(&WaiterId::NONE) && !reader.has_input());
        let more = AtomicBool::new(false);
        let Poll::Ready(FastRead::Message(first)) = reader.poll_fast(&mut cx, &mut room, &more)
        else {
            panic!("the first message has arrived");
        };
        assert!(more.swap(false, Relaxed), "the second message is buffered");
        let FastRead::Message(second) = reader.next_buffered(&more) else {
            panic!("the second message is buffered");
        };
        assert!(more.load(Relaxed), "a ping is buffered");
        assert_eq!((first.as_text(), second.as_text()), (Some("a"), Some("b")));
        assert!(matches!(reader.next_buffered(&more), FastRead::Fallback));
        assert_eq!((reader.messages, reader.bytes, reader.input()), (2, 8, &b"\x89\x00"[..]));
        reader.keep_ahead(ReadItem::Message(first));
        assert!(!reader.is_common(&WaiterId::NONE) && reader.ahead_len() == 1);
    }

    #[tokio::test]
    async fn a_read_appends_to_the_input_that_was_kept() {
        let (mut reader, mut peer) = reader();
        reader.keep_input(b"\x81\x02h");
        let mut cx = Context::from_waker(Waker::noop());
        let (mut lent, mut id) = (ThreadBuffer::lend(64), WaiterId::NONE);
        let mut op = Operation::new(&mut id, &mut cx);
        assert!(reader.poll_fill(&mut op, Mode::Whole, &mut lent).is_pending());
        peer.write_all(b"i").await.unwrap();
        let filled = reader.poll_fill(&mut op, Mode::Whole, &mut lent);
        assert!(matches!(filled, Poll::Ready(Filled::Lent(4))));
        assert_eq!(lent.bytes()[..4], *b"\x81\x02hi");
        drop(peer);
        let filled = reader.poll_fill(&mut op, Mode::Whole, &mut lent);
        assert!(matches!(filled, Poll::Ready(Filled::Ended(Error::Closed(_)))));
    }
}
