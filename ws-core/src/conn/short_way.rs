//! How does the commonest message come and go, in the fewest steps?
//!
//! One that is here whole, or comes whole with the next read, on a connection where
//! nobody else waits and nothing is under way; and one that is written while there is
//! room. Everything else is left to [`reading`](super::reading) and
//! [`writing`](super::writing), from wherever the short way ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::filling::{Rest, with_scratch};
use super::reading::{Got, Reader, STREAK, Step};
use super::shared::Shared;
use super::waiters::Ticket;
use super::writing::Writer;
use crate::proto::Mode;
use crate::{Error, Message};

/// [`Conn::read`](super::Conn::read): an operation of the reading side, with the short
/// way to a message taken first.
pub(super) struct Read<'a> {
    shared: &'a Shared,
    ticket: Ticket,
}

/// [`Conn::write`](super::Conn::write): an operation of the writing side, likewise.
pub(super) struct Write<'a> {
    shared: &'a Shared,
    ticket: Ticket,
    message: Option<Message>,
}

impl Future for Read<'_> {
    type Output = Result<Message, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, ticket } = &mut *self;
        let mut reader = shared.reader.lock();
        if reader.is_usual(ticket) {
            match reader.poll_usual(shared, cx) {
                Poll::Ready(Some(message)) => {
                    reader.leave(ticket);
                    return Poll::Ready(Ok(message));
                }
                Poll::Ready(None) => {}
                Poll::Pending => return reader.poll_idle(shared, ticket, true, cx),
            }
        }
        let polled = reader.poll_message(shared, ticket, cx);
        if polled.is_ready() {
            reader.leave(ticket);
        }
        polled
    }
}

impl Future for Write<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, ticket, message } = &mut *self;
        let mut writer = shared.writer.lock();
        if writer.is_usual(ticket)
            && let Some(message) = message.take()
        {
            writer.write(shared, message);
            if writer.failed.is_none() {
                shared.release(writer);
                return Poll::Ready(Ok(()));
            }
        }
        let polled = writer.poll_write(shared, message, ticket, cx);
        if polled.is_ready() {
            writer.waiters.leave(ticket);
        }
        shared.release(writer);
        polled
    }
}

impl Drop for Read<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.ticket.is_waiting() {
            self.shared.reader.lock().leave(&mut self.ticket);
        }
    }
}

impl Drop for Write<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.ticket.is_waiting() {
            self.shared.writer.lock().waiters.leave(&mut self.ticket);
        }
    }
}

impl Shared {
    #[inline]
    pub(super) const fn read(&self) -> Read<'_> {
        Read { shared: self, ticket: Ticket::NONE }
    }

    #[inline]
    pub(super) const fn write(&self, message: Message) -> Write<'_> {
        Write { shared: self, ticket: Ticket::NONE, message: Some(message) }
    }
}

impl Reader {
    /// Is there nothing to mind but the next message?
    #[inline]
    pub(super) const fn is_usual(&self, ticket: &Ticket) -> bool {
        self.streak < STREAK
            && !self.streaming
            && !self.closing
            && !self.refusing
            && self.parked.is_none()
            && self.waiters.is_alone(ticket)
    }

    /// The short way to a message that is here whole, or comes with the next read.
    /// `None` when the long way has to be taken from there.
    #[inline]
    pub(super) fn poll_usual(
        &mut self,
        shared: &Shared,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Message>> {
        if self.rest.is_empty() && !self.inbound.is_inside_frame() {
            shared.more.store(false, Relaxed);
            shared.flush_deferred();
            return self.poll_scratch(shared, cx);
        }
        let message = match self.inbound.whole(self.rest.as_mut_slice()) {
            Ok(Some((message, used))) => {
                self.rest.consume(used);
                self.give_whole(shared);
                Some(message)
            }
            Ok(None) => None,
            Err(fault) => {
                shared.fault(self, fault);
                None
            }
        };
        Poll::Ready(message)
    }

    /// Reads once, where nothing is left from before, and looks for a whole message.
    /// `None` when there is something else.
    #[inline]
    pub(super) fn poll_scratch(
        &mut self,
        shared: &Shared,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Message>> {
        with_scratch(|scratch| {
            let Some(io) = &mut self.io else { return Poll::Ready(None) };
            let mut buf = ReadBuf::new(scratch);
            let read = ready!(Pin::new(io).poll_read(cx, &mut buf));
            let filled = buf.filled().len();
            if read.is_err() || filled == 0 {
                let error = read.map_or_else(Error::from_io, |()| Error::abnormal());
                shared.transport_ended(self, error);
                return Poll::Ready(None);
            }
            Poll::Ready(self.whole_of_scratch(shared, filled, scratch))
        })
    }

    #[inline]
    fn whole_of_scratch(
        &mut self,
        shared: &Shared,
        filled: usize,
        scratch: &mut [u8],
    ) -> Option<Message> {
        let input = scratch.get_mut(..filled).unwrap_or_default();
        match self.inbound.whole(input) {
            Ok(Some((message, used))) => {
                self.heard(filled);
                if used < filled {
                    self.rest = Rest::new(input.get(used..).unwrap_or_default());
                }
                self.give_whole(shared);
                Some(message)
            }
            Ok(None) => match self.handle_scratch(shared, filled, scratch, Mode::Whole) {
                Step::Got(Got::Message(message)) => {
                    self.give_whole(shared);
                    Some(message)
                }
                Step::Got(Got::Piece) | Step::Dry | Step::Over => None,
            },
            Err(fault) => {
                shared.fault(self, fault);
                None
            }
        }
    }
}

impl Writer {
    /// May the next message be queued without a second look?
    #[inline]
    pub(super) const fn is_usual(&self, ticket: &Ticket) -> bool {
        !self.closed
            && self.failed.is_none()
            && self.io.is_some()
            && !ticket.is_waiting()
            && !self.outbound.is_streaming()
            && self.outbound.queue().len() <= self.high_mark
    }

    /// Queues a message, and sends what can be sent.
    #[inline]
    pub(super) fn write(&mut self, shared: &Shared, message: Message) {
        self.messages += 1;
        self.outbound.message(message);
        self.send(shared, shared.more.load(Relaxed));
    }
}
