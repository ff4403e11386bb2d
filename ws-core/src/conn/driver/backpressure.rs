//! What happens when the transport is full: where do writes wait, and who sends the rest?
//!
//! A write waits while more bytes than the high watermark are buffered, and continues at the low
//! watermark. The buffered bytes are left to a [`DrainTask`] or, without a runtime, to the
//! operations that are polled.

use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep};

use crate::conn::driver::connection::Connection;
use crate::conn::driver::state::FlushState;
use crate::conn::driver::wait_queue::Operation;
use crate::conn::driver::writer::Writer;
use crate::{Error, TryWriteError};

impl Connection {
    /// Whether a message may be queued now.
    pub(crate) fn check_room(&self, writer: &mut Writer) -> Result<(), TryWriteError> {
        self.check_open(writer)?;
        if writer.outbound.is_streaming() {
            return Err(TryWriteError::Busy);
        }
        self.check_below_watermark(writer)
    }

    /// Whether the queue is below the watermark.
    pub(crate) fn check_below_watermark(&self, writer: &mut Writer) -> Result<(), TryWriteError> {
        self.check_open(writer)?;
        let high_watermark = self.info.config.high_watermark;
        if writer.outbound.buffered() > high_watermark {
            self.flush_now(writer);
            self.check_open(writer)?;
            if writer.outbound.buffered() > high_watermark {
                return Err(TryWriteError::Full);
            }
        }
        Ok(())
    }

    /// Waits until a message may be queued.
    #[inline]
    pub(crate) fn poll_room(
        &self,
        writer: &mut Writer,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<(), Error>> {
        if writer.outbound.is_streaming() {
            self.check_open(writer)?;
            return writer.wait(op);
        }
        self.poll_below_watermark(writer, op)
    }

    /// Waits while the queue is above the watermark.
    #[inline]
    pub(crate) fn poll_below_watermark(
        &self,
        writer: &mut Writer,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<(), Error>> {
        self.check_open(writer)?;
        // An operation that has begun to wait waits for the low watermark.
        let config = &self.info.config;
        let watermark =
            if op.id.is_waiting() { config.low_watermark } else { config.high_watermark };
        if writer.outbound.buffered() <= watermark {
            return Poll::Ready(Ok(()));
        }
        self.poll_progress(writer, op.cx);
        self.check_open(writer)?;
        if writer.outbound.buffered() <= watermark {
            return Poll::Ready(Ok(()));
        }
        writer.wait(op)
    }

    /// Waits until the transport has everything that is queued.
    pub(crate) fn poll_flushed(
        &self,
        writer: &mut Writer,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<(), Error>> {
        self.flush_now(writer);
        writer.result()?;
        if writer.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        self.poll_progress(writer, op.cx);
        if writer.is_flushed() { Poll::Ready(Ok(())) } else { writer.wait(op) }
    }

    /// Leaves the rest to a task or, without a runtime, to the operations that are polled.
    pub(crate) fn drain_later(&self) {
        match Handle::try_current() {
            Ok(runtime) => {
                self.flush.store(FlushState::Draining);
                let task = DrainTask::new(self.this.clone(), self.info.config.write_timeout);
                // A runtime that shuts down drops the task in this call: it is `Stalled` then.
                drop(runtime.spawn(task));
            }
            Err(_) => self.flush.store(FlushState::Stalled),
        }
    }

    /// Sends what the transport takes, and is woken when it takes more, outside of a runtime.
    fn poll_progress(&self, writer: &mut Writer, cx: &mut Context<'_>) {
        if self.flush.is(FlushState::Draining) {
            return;
        }
        if Handle::try_current().is_ok() {
            return self.flush_now(writer);
        }
        if let Poll::Ready(drained) = writer.poll_drain(Some(cx)) {
            self.note_drained(writer, drained);
            writer.waiters.wake();
        }
    }

    /// Goes on writing on behalf of an operation that reads, where no task can.
    #[inline]
    pub(crate) fn poll_stalled(&self, cx: &mut Context<'_>) {
        if self.flush.is(FlushState::Stalled) {
            self.poll_progress(&mut self.writer.lock(), cx);
        }
    }
}

/// Empties the queue of a connection whose transport is full.
///
/// It holds the connection only while it is polled: when the last handle is dropped, the
/// lingering close sends the rest.
struct DrainTask {
    connection: Weak<Connection>,
    /// The timeout for a transport that takes nothing.
    stall: Option<(Duration, Pin<Box<Sleep>>)>,
    /// How many bytes the transport had taken at the last poll.
    taken: u64,
    polled: bool,
}

impl DrainTask {
    fn new(connection: Weak<Connection>, timeout: Option<Duration>) -> Self {
        let stall = timeout.map(|timeout| (timeout, Box::pin(sleep(timeout))));
        Self { connection, stall, taken: 0, polled: false }
    }
}

impl Future for DrainTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = self.connection.upgrade() else { return Poll::Ready(()) };
        let mut writer = connection.writer.lock();
        let drained = writer.poll_drain(Some(cx));
        let taken = writer.outbound.sent();
        if writer.outbound.buffered() <= connection.info.config.low_watermark {
            writer.waiters.wake();
        }
        match drained {
            Poll::Ready(drained) => {
                // Now, not when this task is dropped: a write may come before that.
                connection.note_drained(&mut writer, drained);
                self.connection = Weak::new();
                return Poll::Ready(());
            }
            Poll::Pending => drop(writer),
        }
        if !std::mem::replace(&mut self.polled, true) {
            // A task that is stuck in a write polls no operation that reads.
            connection.watch(&mut connection.reader.lock());
        }
        let progress = taken != std::mem::replace(&mut self.taken, taken);
        let Some((timeout, stall)) = &mut self.stall else { return Poll::Pending };
        if progress && let Some(until) = Instant::now().checked_add(*timeout) {
            stall.as_mut().reset(until);
        }
        ready!(stall.as_mut().poll(cx));
        connection.write_timed_out();
        Poll::Ready(())
    }
}

impl Drop for DrainTask {
    /// A runtime that shuts down drops its tasks, some in the call that spawns them. Another
    /// operation has to flush then, and is woken for that.
    fn drop(&mut self) {
        let Some(connection) = self.connection.upgrade() else { return };
        connection.flush.store(FlushState::Stalled);
        if self.polled {
            connection.reader.lock().waiters.wake();
            connection.writer.lock().waiters.wake();
            return;
        }
        // The caller of the call that spawns it holds these locks.
        if let Some(reader) = connection.reader.try_lock() {
            reader.waiters.wake();
        }
        if let Some(writer) = connection.writer.try_lock() {
            writer.waiters.wake();
        }
    }
}
