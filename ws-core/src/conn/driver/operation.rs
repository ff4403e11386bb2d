//! How does an operation wait, and what does it leave behind when it is dropped?
//!
//! Nothing: the only thing that a future holds is its place in a queue, which it gives
//! up when it is dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::MutexGuard;

use bytes::Bytes;

use crate::Error;
use crate::conn::CloseInfo;
use crate::conn::driver::connection::Shared;
use crate::conn::driver::reader::Reader;
use crate::conn::driver::wait_queue::Ticket;
use crate::conn::driver::writer::Writer;
use crate::conn::runtime::deferred_flush;

/// A place on the reading side, given up when this is dropped.
pub(crate) struct ReadPlace<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) ticket: Ticket,
}

/// A place on the writing side, likewise.
pub(crate) struct WritePlace<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) ticket: Ticket,
}

/// An operation of the reading side.
pub(crate) struct Reading<'a, F> {
    place: ReadPlace<'a>,
    poll: F,
}

/// An operation of the writing side.
pub(crate) struct Writing<'a, F> {
    place: WritePlace<'a>,
    poll: F,
}

impl<T, F> Future for Reading<'_, F>
where
    F: FnMut(&mut Reader, &Shared, &mut Ticket, &mut Context<'_>) -> Poll<T> + Unpin,
{
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Self { place: ReadPlace { shared, ticket }, poll } = &mut *self;
        shared.poll_reading(ticket, |reader, ticket| poll(reader, shared, ticket, cx))
    }
}

impl<T, F> Future for Writing<'_, F>
where
    F: FnMut(&mut Writer, &Shared, &mut Ticket, &mut Context<'_>) -> Poll<T> + Unpin,
{
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Self { place: WritePlace { shared, ticket }, poll } = &mut *self;
        shared.poll_writing(ticket, |writer, ticket| poll(writer, shared, ticket, cx))
    }
}

impl Drop for ReadPlace<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.leave_reading(&mut self.ticket);
    }
}

impl Drop for WritePlace<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.leave_writing(&mut self.ticket);
    }
}

/// A ping that is waited for.
struct Pinging<'a>(&'a Shared, u64);

impl Drop for Pinging<'_> {
    fn drop(&mut self) {
        self.0.reader.lock().pings.forget(self.1);
    }
}

impl Shared {
    #[inline]
    pub(crate) const fn read_place(&self) -> ReadPlace<'_> {
        ReadPlace { shared: self, ticket: Ticket::NONE }
    }

    #[inline]
    pub(crate) const fn write_place(&self) -> WritePlace<'_> {
        WritePlace { shared: self, ticket: Ticket::NONE }
    }

    /// Waits for something of the reading side.
    #[inline]
    pub(crate) const fn wait_reading<T, F>(&self, poll: F) -> Reading<'_, F>
    where
        F: FnMut(&mut Reader, &Self, &mut Ticket, &mut Context<'_>) -> Poll<T>,
    {
        Reading { place: self.read_place(), poll }
    }

    /// Waits for something of the writing side.
    #[inline]
    pub(crate) const fn wait_writing<T, F>(&self, poll: F) -> Writing<'_, F>
    where
        F: FnMut(&mut Writer, &Self, &mut Ticket, &mut Context<'_>) -> Poll<T>,
    {
        Writing { place: self.write_place(), poll }
    }

    /// Polls an operation of the reading side, which gives up its place when it is done.
    #[inline]
    pub(crate) fn poll_reading<T>(
        &self,
        ticket: &mut Ticket,
        poll: impl FnOnce(&mut Reader, &mut Ticket) -> Poll<T>,
    ) -> Poll<T> {
        let mut reader = self.reader.lock();
        let polled = poll(&mut reader, ticket);
        if polled.is_ready() {
            reader.leave(ticket);
        }
        self.give_back(reader);
        polled
    }

    /// Polls an operation of the writing side, likewise.
    #[inline]
    pub(crate) fn poll_writing<T>(
        &self,
        ticket: &mut Ticket,
        poll: impl FnOnce(&mut Writer, &mut Ticket) -> Poll<T>,
    ) -> Poll<T> {
        let mut writer = self.writer.lock();
        let polled = poll(&mut writer, ticket);
        if polled.is_ready() {
            writer.waiters.leave(ticket);
        }
        self.release(writer);
        polled
    }

    /// Gives up a place on the reading side. Who has had an answer has none, and goes
    /// without a trace.
    #[inline]
    pub(crate) fn leave_reading(&self, ticket: &mut Ticket) {
        if ticket.is_waiting() {
            self.leave_readers(ticket);
        }
    }

    #[cold]
    fn leave_readers(&self, ticket: &mut Ticket) {
        self.reader.lock().leave(ticket);
    }

    /// Gives up a place on the writing side.
    #[inline]
    pub(crate) fn leave_writing(&self, ticket: &mut Ticket) {
        if ticket.is_waiting() {
            self.leave_writers(ticket);
        }
    }

    #[cold]
    fn leave_writers(&self, ticket: &mut Ticket) {
        self.writer.lock().waiters.leave(ticket);
    }

    /// Gives the writer back, and sees to what it left for a moment.
    #[inline]
    pub(crate) fn release(&self, writer: MutexGuard<'_, Writer>) {
        if !self.untold.load(Relaxed) {
            return;
        }
        self.untold.store(false, Relaxed);
        drop(writer);
        deferred_flush::flush_later(self);
    }

    /// Waits for the end, reading on meanwhile.
    pub(crate) async fn wait_for_end(&self) -> CloseInfo {
        self.wait_reading(Reader::poll_end).await
    }

    /// Sends a ping and waits for its pong, reading on meanwhile.
    pub(crate) async fn ping(&self, payload: Option<Bytes>) -> Result<Duration, Error> {
        let sent = {
            let mut reader = self.reader.lock();
            let mut writer = self.writer.lock();
            writer.check_open(self)?;
            let (number, payload) = reader.pings.sent(payload);
            let sent = Pinging(self, number);
            let queued = writer.outbound.ping(&payload);
            writer.flush_now(self);
            drop((writer, reader));
            queued?;
            sent
        };
        self.wait_reading(|reader, shared, ticket, cx| {
            reader.poll_until(shared, ticket, cx, |reader| reader.pings.rtt_of(sent.1))
        })
        .await
    }
}

impl Reader {
    /// Nothing can be read: waits for that, and for what is due by the clock.
    #[inline]
    pub(crate) fn poll_idle<T>(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        reads: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Error>> {
        self.streak = 0;
        self.waiters.wait(ticket, reads, cx.waker());
        shared.poll_stuck(cx);
        if self.clock.is_set() {
            return Poll::Pending;
        }
        self.poll_clock(shared, cx)
    }

    /// What is due by the clock?
    #[cold]
    fn poll_clock<T>(&mut self, shared: &Shared, cx: &Context<'_>) -> Poll<Result<T, Error>> {
        while let Poll::Ready(due) = self.clock.poll(shared, cx) {
            shared.due(self, due);
            if let Some(error) = self.over(shared) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    }

    /// The end, for those that only wait for it.
    pub(crate) fn poll_end(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<CloseInfo> {
        let ending = || shared.ending.get().cloned();
        self.poll_until(shared, ticket, cx, |_| ending()).map(|ended| {
            // Reading fails only when the end is known.
            ended.or_else(|error| ending().ok_or(error)).unwrap_or_else(|error| CloseInfo {
                sent: None,
                received: None,
                by: crate::conn::CloseInitiator::Transport,
                error,
            })
        })
    }
}
