//! How are the bytes of the peer read, and by whom?
//!
//! Whoever is polled reads: `read`, a `MessageReader`, and those that wait for
//! something that only the peer can bring (`ping`, `close`, `closed`). All that was
//! received and not yet delivered stands in [`Reader`], nothing in a future.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::conn::driver::cold_state::Rare;
use crate::conn::driver::connection::Shared;
use crate::conn::driver::deadlines::Clock;
use crate::conn::driver::pings::Pings;
use crate::conn::driver::read_buffer::Rest;
use crate::conn::driver::transport::ReadHalf;
use crate::conn::driver::wait_queue::{Ticket, Waiters};
use crate::conn::info::request::RequestInfo;
use crate::frame::OpCode;
use crate::proto::{Inbound, Mode, ProtocolEvent, RateLimiter};
use crate::{Error, Message, MessageType};

/// How long a piece of a message may be.
pub(crate) const CHUNK: usize = 64 * 1024;

/// After so many messages that were there already, other tasks get a turn.
pub(crate) const STREAK: u16 = 256;

/// The reading side of a connection.
pub(crate) struct Reader {
    pub(crate) io: Option<ReadHalf>,
    pub(crate) inbound: Inbound,
    pub(crate) waiters: Waiters,
    pub(crate) pings: Pings,
    pub(crate) clock: Clock,
    /// What few connections have.
    pub(crate) rare: Option<Box<Rare>>,
    /// Is a `MessageReader` open?
    pub(crate) streaming: bool,
    /// This side has closed: messages are dropped.
    pub(crate) closing: bool,
    /// A message is an error: the application said that it expects none.
    pub(crate) refusing: bool,
    /// A close frame does not end the connection, as long as this side has something to say.
    pub(crate) half_closes: bool,
    /// The last read took all that the transport had.
    pub(crate) emptied: bool,
    /// A pong is queued and not sent.
    pub(crate) owes_pong: bool,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// What the connection began with. It stands here because of the lock.
    pub(crate) request: Option<Arc<RequestInfo>>,
    pub(crate) rest: Rest,
    pub(crate) streak: u16,
}

/// What reading came upon.
pub(crate) enum Got {
    /// A whole message, or the end of one that is taken in pieces.
    Message(Message),
    /// A piece, to be taken from `inbound`.
    Piece,
    /// A frame, to be taken from `inbound` or, if it is a control frame, from `rare`.
    Frame,
}

/// What became of some input.
pub(crate) enum Step {
    Got(Got),
    Dry,
    Over,
    /// A hook is to be called first.
    Called,
}

impl Reader {
    pub(crate) fn new(
        io: ReadHalf,
        inbound: Inbound,
        rates: Option<RateLimiter>,
        clock: Clock,
        leftover: &Bytes,
    ) -> Self {
        let rates = rates.map(|rates| Rare { rates: Some(rates), ..Rare::default() });
        Self {
            io: Some(io),
            inbound,
            waiters: Waiters::default(),
            pings: Pings::default(),
            clock,
            rare: rates.map(Box::new),
            streaming: false,
            closing: false,
            refusing: false,
            half_closes: false,
            emptied: false,
            owes_pong: false,
            messages: 0,
            bytes: leftover.len() as u64,
            request: None,
            rest: Rest::new(leftover),
            streak: 0,
        }
    }

    /// Somebody waits no longer.
    #[inline]
    pub(crate) fn leave(&mut self, ticket: &mut Ticket) {
        if ticket.is_waiting() {
            self.waiters.leave(ticket);
            if self.waiters.is_empty() {
                self.clock.pause();
            }
        }
    }

    /// The next message, for `read`.
    #[cold]
    pub(crate) fn poll_message(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Message, Error>> {
        if let Some(message) = self.take_parked(ticket) {
            return Poll::Ready(Ok(message));
        }
        ready!(self.poll_turn(shared, ticket, cx))?;
        loop {
            self.leave_frames();
            match ready!(self.poll_next(shared, ticket, true, cx, Mode::Whole))? {
                Got::Message(message) => return Poll::Ready(Ok(message)),
                Got::Piece | Got::Frame => {}
            }
        }
    }

    /// The beginning of the next message: its type, and its payload if it is all here.
    pub(crate) fn poll_open(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(MessageType, Option<Bytes>), Error>> {
        if let Some(message) = self.take_parked(ticket) {
            let (kind, payload) = message.into_parts();
            return Poll::Ready(Ok((kind, Some(payload))));
        }
        ready!(self.poll_turn(shared, ticket, cx))?;
        loop {
            self.leave_frames();
            if let Some(kind) = self.inbound.message_kind()
                && !self.closing
            {
                self.streaming = true;
                return Poll::Ready(Ok((kind, None)));
            }
            match self.poll_next(shared, ticket, true, cx, Mode::Pieces(CHUNK))? {
                Poll::Ready(Got::Message(message)) => {
                    let (kind, payload) = message.into_parts();
                    return Poll::Ready(Ok((kind, Some(payload))));
                }
                Poll::Ready(Got::Piece | Got::Frame) => {}
                // A message may have begun with nothing of its payload here.
                Poll::Pending if self.inbound.message_kind().is_some() && !self.closing => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Waits for the turn to read.
    #[inline]
    pub(crate) fn poll_turn(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if self.streaming {
            self.waiters.wait(ticket, true, cx.waker());
            return self.over(shared).map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
        }
        // One that waits already goes first, if it is polled.
        if !ticket.is_waiting() && self.waiters.has_reader() {
            self.waiters.wait(ticket, true, cx.waker());
            self.waiters.wake();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads on, for somebody who has no use for messages, until `done` says so. The
    /// first message is parked, and then the rest stays in the socket.
    pub(crate) fn poll_until<T>(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> Poll<Result<T, Error>> {
        loop {
            if let Some(found) = done(self) {
                return Poll::Ready(Ok(found));
            }
            let mode = if self.streaming { Mode::Pieces(CHUNK) } else { Mode::Whole };
            let piece_waits = self.streaming && self.inbound.has_piece();
            let waits = piece_waits || self.inbound.has_frame() || self.has_parked();
            if waits && !self.closing {
                self.waiters.wait(ticket, false, cx.waker());
                return self.over(shared).map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
            }
            match self.poll_next(shared, ticket, false, cx, mode) {
                Poll::Ready(Ok(Got::Message(message))) => {
                    self.park(message);
                    self.waiters.wake_others(ticket);
                }
                Poll::Ready(Ok(Got::Piece | Got::Frame)) => self.waiters.wake_others(ticket),
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(done(self).ok_or(error));
                }
                Poll::Pending => {
                    return done(self).map_or(Poll::Pending, |found| Poll::Ready(Ok(found)));
                }
            }
        }
    }

    /// Handles what has been read, and reads on, until there is something to give.
    #[inline]
    pub(crate) fn poll_next(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        reads: bool,
        cx: &mut Context<'_>,
        mode: Mode,
    ) -> Poll<Result<Got, Error>> {
        if self.streak >= STREAK {
            self.streak = 0;
            self.waiters.wait(ticket, reads, cx.waker());
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(error) = self.over(shared) {
                return Poll::Ready(Err(error));
            }
            if let Some(error) = self.half_over() {
                self.waiters.wait(ticket, reads, cx.waker());
                return if reads { Poll::Ready(Err(error)) } else { Poll::Pending };
            }
            // What nobody will get need not be handed out in pieces.
            let mode = if self.closing { Mode::Whole } else { mode };
            let step = if self.rest.is_empty() && !self.inbound.is_inside_frame() {
                Step::Dry
            } else {
                self.handle_rest(shared, mode)
            };
            let step = match step {
                Step::Dry => {
                    shared.more.store(false, Relaxed);
                    shared.flush_deferred();
                    match self.poll_fill_noting(shared, ticket, cx, mode) {
                        Poll::Ready(step) => step,
                        Poll::Pending => return self.poll_idle(shared, ticket, reads, cx),
                    }
                }
                step => step,
            };
            match step {
                Step::Got(got) => return Poll::Ready(Ok(self.give(shared, got))),
                Step::Called => return self.poll_after_hook(ticket, reads, cx),
                Step::Dry | Step::Over => {}
            }
        }
    }

    /// The end of the connection, if it has come.
    #[inline]
    pub(crate) fn over(&self, shared: &Shared) -> Option<Error> {
        shared.ending.get().map(|ending| ending.error.clone())
    }

    /// Notes what is about to be given out.
    #[inline]
    fn give(&mut self, shared: &Shared, got: Got) -> Got {
        match got {
            Got::Message(_) => self.give_whole(shared),
            Got::Piece | Got::Frame => shared.more.store(self.looks_ahead(), Relaxed),
        }
        got
    }

    /// Notes that a message is about to be given out.
    pub(crate) fn give_whole(&mut self, shared: &Shared) {
        self.note_whole(shared, self.looks_ahead());
    }

    /// As [`give_whole`](Self::give_whole), by who knows whether more whole frames wait.
    #[inline]
    pub(crate) fn note_whole(&mut self, shared: &Shared, more: bool) {
        shared.more.store(more, Relaxed);
        self.messages += 1;
        self.streak += 1;
        self.clock.message();
    }

    /// Does another whole frame wait behind what is given out?
    fn looks_ahead(&self) -> bool {
        self.inbound.is_ready(self.rest.as_slice())
    }

    /// Handles what was read before.
    pub(crate) fn handle_rest(&mut self, shared: &Shared, mode: Mode) -> Step {
        let mut rest = std::mem::take(&mut self.rest);
        let (used, step) = self.handle(shared, rest.as_mut_slice(), mode);
        rest.consume(used);
        self.rest = rest;
        step
    }

    /// Handles input until there is something to give, with how much of it was used.
    /// The pings in it are answered by then.
    #[inline]
    pub(crate) fn handle(
        &mut self,
        shared: &Shared,
        input: &mut [u8],
        mode: Mode,
    ) -> (usize, Step) {
        let handled = self.handle_frames(shared, input, mode);
        if std::mem::take(&mut self.owes_pong) {
            shared.flush();
        }
        handled
    }

    #[inline]
    fn handle_frames(&mut self, shared: &Shared, input: &mut [u8], mode: Mode) -> (usize, Step) {
        let mut used = 0;
        loop {
            let rest = input.get_mut(used..).unwrap_or_default();
            let by_frame = self.inbound.is_frame_mode();
            let received = self.inbound.receive(rest, mode);
            let received = match received.and_then(|received| self.count(received)) {
                Ok(received) => received,
                Err(fault) => {
                    shared.fault(self, fault);
                    return (input.len(), Step::Over);
                }
            };
            used += received.consumed;
            match received.event {
                Some(ProtocolEvent::Message(_)) if self.closing => {}
                Some(ProtocolEvent::Message(_)) if self.refusing => {
                    shared.fault(self, crate::ProtocolError::UnexpectedMessage.into());
                    return (input.len(), Step::Over);
                }
                Some(ProtocolEvent::Message(message)) => {
                    return (used, Step::Got(Got::Message(message)));
                }
                Some(ProtocolEvent::Ping(payload)) => {
                    if by_frame {
                        self.note_control(OpCode::PING, &payload);
                    }
                    if let Some(step) = self.ping(shared, payload) {
                        return (used, step);
                    }
                }
                Some(ProtocolEvent::Pong(payload)) => {
                    if by_frame {
                        self.note_control(OpCode::PONG, &payload);
                    }
                    if let Some(step) = self.pong(payload) {
                        return (used, step);
                    }
                }
                Some(ProtocolEvent::Close(frame)) => {
                    if by_frame {
                        self.note_control(OpCode::CLOSE, &frame.encode());
                    }
                    self.close(shared, frame);
                    return (input.len(), Step::Over);
                }
                None if self.inbound.has_frame() => return (used, Step::Got(Got::Frame)),
                None if self.inbound.has_piece() && matches!(mode, Mode::Pieces(_)) => {
                    return (used, Step::Got(Got::Piece));
                }
                None => return (used, Step::Dry),
            }
        }
    }

    #[inline]
    pub(crate) fn heard(&mut self, count: usize) {
        self.bytes += count as u64;
        self.clock.heard();
    }
}
