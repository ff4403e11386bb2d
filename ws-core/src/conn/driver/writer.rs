//! How do queued bytes reach the transport, and who sees to it?
//!
//! A write queues its message and tries the transport in the same breath. What the
//! transport does not take is left to a task that lives until it has ([`Drain`]). A
//! write that finds more whole frames waiting on the reading side leaves its bytes
//! for a moment, so that the answers to a burst leave together: they go when the
//! reader runs dry, and at the latest on the next turn of the scheduler
//! ([`turn`](crate::conn::runtime::deferred_flush)).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep};

use crate::conn::api::write::Batch;
use crate::conn::driver::connection::Shared;
use crate::conn::driver::transport::WriteHalf;
use crate::conn::driver::wait_queue::{Seldom, Ticket};
use crate::proto::Outbound;
use crate::{Deadline, Error, Message, MessageType, PreparedMessage, TryWriteError};

/// The writing side of a connection.
pub(crate) struct Writer {
    pub(crate) io: Option<WriteHalf>,
    pub(crate) outbound: Outbound,
    /// Those that wait for room, for the end of a stream, for a flush.
    pub(crate) waiters: Seldom,
    pub(crate) failed: Option<Box<Error>>,
    pub(crate) messages: u64,
}

impl Writer {
    pub(crate) fn new(io: WriteHalf, outbound: Outbound) -> Self {
        Self { io: Some(io), outbound, waiters: Seldom::default(), failed: None, messages: 0 }
    }

    /// Queues a message when there is room for it, and sends what can be sent.
    #[cold]
    pub(crate) fn poll_write(
        &mut self,
        shared: &Shared,
        message: &mut Option<Message>,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_room(shared, ticket, cx))?;
        if let Some(message) = message.take() {
            self.write(shared, message);
        }
        Poll::Ready(self.outcome())
    }

    /// Queues a message, and sends what can be sent.
    pub(crate) fn write(&mut self, shared: &Shared, message: Message) {
        self.messages += 1;
        self.outbound.message(message);
        self.send(shared, shared.more.load(Relaxed));
    }

    /// As [`poll_write`](Self::poll_write), for a message that goes to many: what waits
    /// for each of them leaves together.
    pub(crate) fn poll_write_prepared(
        &mut self,
        shared: &Shared,
        message: &PreparedMessage,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_room(shared, ticket, cx))?;
        self.messages += 1;
        self.outbound.prepared(message);
        self.send(shared, true);
        Poll::Ready(self.outcome())
    }

    /// As [`poll_write`](Self::poll_write), for as many messages as there is room for,
    /// which leave together.
    pub(crate) fn poll_write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &mut self,
        shared: &Shared,
        take: &mut impl FnMut(usize) -> I,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Batch, Error>> {
        ready!(self.poll_room(shared, ticket, cx))?;
        Poll::Ready(self.write_batch(shared, take))
    }

    /// Queues as many messages as there is room for, and sends what can be sent.
    pub(crate) fn write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &mut self,
        shared: &Shared,
        take: &mut impl FnMut(usize) -> I,
    ) -> Result<Batch, Error> {
        let before = self.messages;
        while let Some(room) =
            shared.facts.config.high_watermark.checked_sub(self.outbound.buffered())
        {
            let so_far = self.messages;
            for message in take(room) {
                self.outbound.prepared(&message);
                self.messages += 1;
            }
            if self.messages == so_far {
                break;
            }
        }
        self.flush_now(shared);
        let messages = usize::try_from(self.messages - before).unwrap_or(usize::MAX);
        self.outcome().map(|()| Batch { messages, flushed: self.is_flushed() })
    }

    /// Queues a message by `queue` if there is room for it now.
    pub(crate) fn try_write(
        &mut self,
        shared: &Shared,
        later: bool,
        queue: impl FnOnce(&mut Outbound),
    ) -> Result<(), TryWriteError> {
        self.check_room(shared)?;
        self.messages += 1;
        queue(&mut self.outbound);
        self.send(shared, later);
        Ok(self.outcome()?)
    }

    /// May a message be queued now?
    pub(crate) fn check_room(&mut self, shared: &Shared) -> Result<(), TryWriteError> {
        self.check_open(shared)?;
        if self.outbound.is_streaming() {
            return Err(TryWriteError::Busy);
        }
        let high_watermark = shared.facts.config.high_watermark;
        if self.outbound.buffered() > high_watermark {
            self.flush_now(shared);
            self.check_open(shared)?;
            if self.outbound.buffered() > high_watermark {
                return Err(TryWriteError::Full);
            }
        }
        Ok(())
    }

    /// Sends what is queued, or leaves it for a moment.
    #[inline]
    pub(crate) fn send(&mut self, shared: &Shared, later: bool) {
        if later && self.outbound.buffered() < shared.facts.config.write_batch {
            if !shared.deferred.load(Relaxed) {
                // Nobody else says so: that takes this very lock.
                shared.deferred.store(true, Relaxed);
                shared.untold.store(true, Relaxed);
            }
        } else {
            self.flush_now(shared);
        }
    }

    #[inline]
    pub(crate) fn outcome(&self) -> Result<(), Error> {
        match &self.failed {
            None => Ok(()),
            Some(error) => Err(Error::clone(error)),
        }
    }

    /// Opens a message that comes piece by piece.
    pub(crate) fn poll_open(
        &mut self,
        shared: &Shared,
        kind: MessageType,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_room(shared, ticket, cx))?;
        self.outbound.begin(kind, true);
        Poll::Ready(Ok(()))
    }

    /// Waits until a message may be queued.
    #[inline]
    pub(crate) fn poll_room(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if self.outbound.is_streaming() {
            self.check_open(shared)?;
            return self.wait(ticket, cx);
        }
        self.poll_below_mark(shared, ticket, cx)
    }

    /// Waits while more waits than may.
    #[inline]
    pub(crate) fn poll_below_mark(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.check_open(shared)?;
        // Who has waited once waits for the lower mark.
        let config = &shared.facts.config;
        let mark = if ticket.is_waiting() { config.low_watermark } else { config.high_watermark };
        if self.outbound.buffered() <= mark {
            return Poll::Ready(Ok(()));
        }
        self.poll_progress(shared, cx);
        self.check_open(shared)?;
        if self.outbound.buffered() <= mark {
            return Poll::Ready(Ok(()));
        }
        self.wait(ticket, cx)
    }

    /// Waits until everything queued has been handed to the transport.
    pub(crate) fn poll_flushed(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.flush_now(shared);
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(Error::clone(error)));
        }
        if self.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        self.poll_progress(shared, cx);
        if self.is_flushed() { Poll::Ready(Ok(())) } else { self.wait(ticket, cx) }
    }

    /// May anything be sent?
    #[inline]
    pub(crate) fn check_open(&self, shared: &Shared) -> Result<(), Error> {
        // An end takes the transport away.
        if shared.closed.load(Relaxed) || self.failed.is_some() || self.io.is_none() {
            return Err(self.why_not_open(shared));
        }
        Ok(())
    }

    #[cold]
    fn why_not_open(&self, shared: &Shared) -> Error {
        if shared.closed.load(Relaxed) {
            return Error::CloseSent;
        }
        let ended = shared.ending.get().map(|ending| &ending.error);
        ended.or(self.failed.as_deref()).cloned().unwrap_or_else(Error::abnormal)
    }

    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        let flushed = self.io.as_ref().is_none_or(WriteHalf::is_flushed);
        self.outbound.is_empty() && flushed
    }

    fn wait<T>(&mut self, ticket: &mut Ticket, cx: &Context<'_>) -> Poll<T> {
        self.waiters.wait(ticket, cx.waker());
        Poll::Pending
    }

    /// Sends what the transport takes at once, and leaves the rest to a task.
    #[inline]
    pub(crate) fn flush_now(&mut self, shared: &Shared) {
        shared.deferred.store(false, Relaxed);
        // While a task waits for the transport, trying it would be in vain.
        if shared.draining.load(Relaxed) {
            return;
        }
        match self.poll_drain(None) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => self.fail(Error::from_io(error)),
            Poll::Pending => Self::leave_to_task(shared),
        }
    }

    /// Sends what the transport takes: at once, or being woken when it takes more.
    #[inline]
    fn poll_drain(&mut self, cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Some(io) => io.poll_drain(&mut self.outbound, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Drains as the caller, where no task can: outside of a runtime.
    pub(crate) fn poll_progress(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        if shared.draining.load(Relaxed) {
            return;
        }
        if Handle::try_current().is_ok() {
            return self.flush_now(shared);
        }
        match self.poll_drain(Some(cx)) {
            Poll::Ready(Ok(())) => self.waiters.wake(),
            Poll::Ready(Err(error)) => self.fail(Error::from_io(error)),
            Poll::Pending => {}
        }
    }

    fn leave_to_task(shared: &Shared) {
        match Handle::try_current() {
            Ok(runtime) => {
                shared.draining.store(true, Relaxed);
                let drain = Drain::new(shared.this.clone(), shared.facts.config.write_timeout);
                drop(runtime.spawn(drain));
            }
            Err(_) => shared.stuck.store(true, Relaxed),
        }
    }

    /// The transport takes nothing any more. What the peer has sent can still be read.
    pub(crate) fn fail(&mut self, error: Error) {
        self.failed.get_or_insert_with(|| Box::new(error));
        self.outbound.clear();
        self.waiters.wake();
    }
}

/// Empties the queue of a connection whose transport is full.
///
/// It holds the connection only while it is polled: when the last handle is dropped,
/// the farewell takes over.
struct Drain {
    shared: Weak<Shared>,
    /// The patience with a transport that takes nothing.
    stall: Option<(Duration, Pin<Box<Sleep>>)>,
    /// How many bytes the transport had taken when we last looked.
    taken: u64,
}

impl Drain {
    fn new(shared: Weak<Shared>, timeout: Option<Duration>) -> Self {
        let stall = timeout.map(|timeout| (timeout, Box::pin(sleep(timeout))));
        Self { shared, stall, taken: 0 }
    }
}

impl Future for Drain {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = self.shared.upgrade() else { return Poll::Ready(()) };
        let mut writer = shared.writer.lock();
        let drained = writer.poll_drain(Some(cx));
        let taken = writer.outbound.sent();
        if writer.outbound.buffered() <= shared.facts.config.low_watermark {
            writer.waiters.wake();
        }
        match drained {
            Poll::Ready(done) => {
                // At once, not when this task is dropped: a write may come in between.
                shared.draining.store(false, Relaxed);
                if let Err(error) = done {
                    writer.fail(Error::from_io(error));
                }
                self.shared = Weak::new();
                return Poll::Ready(());
            }
            Poll::Pending => drop(writer),
        }
        let progress = taken != std::mem::replace(&mut self.taken, taken);
        let Some((timeout, stall)) = &mut self.stall else { return Poll::Pending };
        if progress && let Some(until) = Instant::now().checked_add(*timeout) {
            stall.as_mut().reset(until);
        }
        ready!(stall.as_mut().poll(cx));
        shared.give_up(Deadline::Write);
        Poll::Ready(())
    }
}

impl Drop for Drain {
    /// A runtime that ends takes its tasks with it, some in the very call that spawns
    /// them: another has to try then, and is woken to. No lock is waited for here.
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.draining.store(false, Relaxed);
            shared.stuck.store(true, Relaxed);
            if let Some(reader) = shared.reader.try_lock() {
                reader.waiters.wake();
            }
            if let Some(writer) = shared.writer.try_lock() {
                writer.waiters.wake();
            }
        }
    }
}
