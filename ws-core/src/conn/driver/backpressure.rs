//! Where do writes wait when the transport is full?
//!
//! A write waits while more bytes than the high watermark are buffered, and continues at the low
//! watermark. A [flush task](crate::conn::driver::flush_task) sends the buffered bytes or, without a
//! runtime, the operations that are polled.

use std::task::{Context, Poll};

use tokio::runtime::Handle;

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
