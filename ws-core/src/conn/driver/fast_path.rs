//! How does the commonest message come and go, in the fewest steps?
//!
//! One that is here whole, or comes whole with the next read, on a connection where
//! nobody else waits and nothing is under way; and one that is written while there is
//! room. Everything else is left to [`reading`](crate::conn::driver::reader) and
//! [`writing`](crate::conn::driver::writer), from wherever the short way ends.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use crate::conn::driver::connection::Shared;
use crate::conn::driver::operation::{ReadPlace, WritePlace};
use crate::conn::driver::read_buffer::{Rest, Scratch};
use crate::conn::driver::reader::{Got, Reader, STREAK, Step};
use crate::conn::driver::wait_queue::Ticket;
use crate::conn::driver::writer::Writer;
use crate::proto::{FastPath, Mode};
use crate::{Error, Message, ProtocolError};

/// [`Conn::read`](crate::conn::Conn::read): an operation of the reading side, with the short
/// way to a message taken first.
pub(crate) struct Read<'a>(ReadPlace<'a>);

/// [`Conn::write`](crate::conn::Conn::write): an operation of the writing side, likewise.
pub(crate) struct Write<'a> {
    place: WritePlace<'a>,
    message: Option<Message>,
}

impl Future for Read<'_> {
    type Output = Result<Message, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ReadPlace { shared, ticket } = &mut self.0;
        shared.poll_read(ticket, cx)
    }
}

impl Future for Write<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { place: WritePlace { shared, ticket }, message } = &mut *self;
        shared.poll_write(message, ticket, cx)
    }
}

impl Shared {
    #[inline]
    pub(crate) const fn read(&self) -> Read<'_> {
        Read(self.read_place())
    }

    #[inline]
    pub(crate) const fn write(&self, message: Message) -> Write<'_> {
        Write { place: self.write_place(), message: Some(message) }
    }

    /// Polls for the next message.
    #[inline]
    pub(crate) fn poll_read(
        &self,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Message, Error>> {
        let mut reader = self.reader.lock();
        if reader.is_usual(ticket) {
            if !reader.is_dry() {
                if let Some(message) = reader.next_of_rest(self) {
                    reader.leave(ticket);
                    return Poll::Ready(Ok(message));
                }
            } else {
                match reader.poll_scratch(self, cx) {
                    Poll::Ready(Some(message)) => {
                        reader.leave(ticket);
                        return Poll::Ready(Ok(message));
                    }
                    Poll::Ready(None) => {}
                    Poll::Pending => return reader.poll_idle(self, ticket, true, cx),
                }
            }
        }
        let polled = reader.poll_message(self, ticket, cx);
        if polled.is_ready() {
            reader.leave(ticket);
        }
        self.give_back(reader);
        polled
    }

    /// Polls until the message has been taken.
    #[inline]
    pub(crate) fn poll_write(
        &self,
        message: &mut Option<Message>,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut writer = self.writer.lock();
        if writer.is_usual(self, ticket)
            && message.as_ref().is_some_and(|message| writer.write_short(self, message))
        {
            *message = None;
            self.release(writer);
            return Poll::Ready(Ok(()));
        }
        let polled = writer.poll_write(self, message, ticket, cx);
        if polled.is_ready() {
            writer.waiters.leave(ticket);
        }
        self.release(writer);
        polled
    }
}

impl Reader {
    /// Is there nothing to mind but the next message?
    #[inline]
    pub(crate) const fn is_usual(&self, ticket: &Ticket) -> bool {
        self.streak < STREAK
            && !(self.streaming | self.closing | self.refusing)
            && self.rare.is_none()
            && self.waiters.is_alone(ticket)
    }

    /// Is nothing left of what was read before?
    #[inline]
    fn is_dry(&self) -> bool {
        self.rest.is_empty() && !self.inbound.is_inside_frame()
    }

    /// The next message, if it is whole among what was read before.
    #[inline]
    fn next_of_rest(&mut self, shared: &Shared) -> Option<Message> {
        let input = self.rest.as_mut_slice();
        match self.inbound.fast_path(input) {
            FastPath::Message(whole) => {
                let more = self.inbound.is_ready(whole.rest);
                let (left, message) = (whole.rest.len(), whole.message());
                self.rest.keep(left);
                self.note_whole(shared, more);
                Some(message)
            }
            FastPath::NotUtf8 => self.not_utf8(shared),
            FastPath::Other => None,
        }
    }

    /// Reads once, where nothing is left from before, and looks for a whole message.
    /// `None` when there is something else.
    #[inline]
    fn poll_scratch(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        shared.more.store(false, Relaxed);
        shared.flush_deferred();
        let Some(io) = &mut self.io else { return Poll::Ready(None) };
        if std::mem::take(&mut self.emptied) {
            // Most likely there is nothing yet, and to hear that takes no buffer.
            if let Err(error) = ready!(io.poll_ready(cx)) {
                return Poll::Ready(self.transport_failed(shared, error));
            }
        }
        let mut scratch = Scratch::lend();
        let scratch = scratch.bytes();
        let room = shared.facts.config.read_buffer;
        let room = scratch.get_mut(..room).unwrap_or_default();
        let filled = match ready!(io.poll_take(cx, room)) {
            Ok(filled) if filled > 0 => filled,
            Ok(_) => return Poll::Ready(self.transport_failed(shared, None)),
            Err(error) => return Poll::Ready(self.transport_failed(shared, error)),
        };
        self.heard(filled);
        self.emptied = filled < room.len();
        let input = scratch.get_mut(..filled).unwrap_or_default();
        let whole = match self.inbound.fast_path(input) {
            FastPath::Message(whole) => whole,
            FastPath::NotUtf8 => return Poll::Ready(self.not_utf8(shared)),
            FastPath::Other => {
                return Poll::Ready(self.other_of_scratch(shared, filled, scratch));
            }
        };
        let mut more = false;
        if !whole.rest.is_empty() {
            more = self.inbound.is_ready(whole.rest);
            self.rest = Rest::new(whole.rest);
        }
        self.note_whole(shared, more);
        Poll::Ready(Some(whole.message()))
    }

    #[cold]
    fn transport_failed(
        &mut self,
        shared: &Shared,
        error: impl Into<Option<io::Error>>,
    ) -> Option<Message> {
        let error = error.into().map_or_else(Error::abnormal, Error::from_io);
        shared.transport_ended(self, error);
        None
    }

    #[cold]
    fn not_utf8(&mut self, shared: &Shared) -> Option<Message> {
        shared.fault(self, ProtocolError::TextNotUtf8.into());
        None
    }

    /// As [`poll_scratch`](Self::poll_scratch), of what is no whole message.
    #[cold]
    fn other_of_scratch(
        &mut self,
        shared: &Shared,
        filled: usize,
        scratch: &mut [u8],
    ) -> Option<Message> {
        match self.handle_scratch(shared, filled, scratch, Mode::Whole) {
            Step::Got(Got::Message(message)) => {
                self.give_whole(shared);
                Some(message)
            }
            Step::Got(Got::Piece | Got::Frame) | Step::Dry | Step::Over | Step::Called => None,
        }
    }
}

impl Writer {
    /// May the next message be queued without a second look?
    #[inline]
    fn is_usual(&self, shared: &Shared, ticket: &Ticket) -> bool {
        !(shared.closed.load(Relaxed) | self.failed.is_some() | self.io.is_none())
            && !(ticket.is_waiting() | self.outbound.is_streaming())
            && self.outbound.buffered() <= shared.facts.config.high_watermark
    }

    /// Sends a message that is short and goes as it is: past the queue, if nothing waits
    /// there, and no other is about to follow. Says whether it did; the long way comes
    /// upon the reason if not.
    #[inline]
    fn write_short(&mut self, shared: &Shared, message: &Message) -> bool {
        let more = shared.more.load(Relaxed);
        if more || !self.outbound.is_empty() {
            if !self.outbound.push_short(message) {
                return false;
            }
            self.messages += 1;
            self.send(shared, more);
            return self.failed.is_none();
        }
        // A task that drains has told the transport whom to wake.
        let Some(io) = self.io.as_mut().filter(|_| !shared.draining.load(Relaxed)) else {
            return false;
        };
        let mut room = Scratch::lend();
        let Some(frame) = self.outbound.encode_direct(message, room.bytes()) else { return false };
        let taken = match io.poll_write(None, &[IoSlice::new(frame)]) {
            Poll::Ready(Ok(taken)) if taken > 0 => taken,
            Poll::Ready(Ok(_)) => return self.fail_with(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Err(error)) => return self.fail_with(error),
            Poll::Pending => 0,
        };
        let gone = taken == frame.len() && io.is_flushed();
        self.outbound.direct_written(frame, taken);
        self.messages += 1;
        if gone {
            return true;
        }
        self.flush_now(shared);
        self.failed.is_none()
    }

    #[cold]
    fn fail_with(&mut self, error: io::Error) -> bool {
        self.fail(Error::from_io(error));
        false
    }
}
