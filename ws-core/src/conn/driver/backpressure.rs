//! Where do writes wait when the transport is full?
//!
//! A write waits while more bytes than the high watermark are buffered, and continues at the low
//! watermark. A [flush task](crate::conn::driver::flush_task) sends the buffered bytes or, without a
//! runtime, the operations that are polled.

use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;

use crate::conn::driver::connection::Connection;
use crate::conn::driver::reader::Reader;
use crate::conn::driver::state::FlushState;
use crate::conn::driver::wait_queue::{Operation, WaiterId};
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
        self.poll_progress(writer, op);
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
        self.poll_progress(writer, op);
        writer.result()?;
        if writer.is_flushed() { Poll::Ready(Ok(())) } else { writer.wait(op) }
    }

    /// Sends what the transport takes, for an operation of the writing side.
    fn poll_progress(&self, writer: &mut Writer, op: &Operation<'_, '_>) {
        let own = op.cx.waker();
        self.poll_progress_for(writer, own, |writer| {
            let writing = writer.waiters.combined(op.id, own);
            // Only tried, because of the order of the locks. An operation that has the lock waits for
            // the transport next, or is done. A write that is dropped wakes the others.
            let all = self.reader.try_lock().and_then(|reader| {
                reader.waiters.combined(&WaiterId::NONE, writing.as_ref().unwrap_or(own))
            });
            all.or(writing)
        });
    }

    /// Goes on writing on behalf of an operation that reads, where no task can.
    #[inline]
    pub(crate) fn poll_stalled(&self, reader: &Reader, op: &Operation<'_, '_>) {
        if self.flush.is(FlushState::Stalled) {
            self.poll_progress_of_read(reader, op);
        }
    }

    #[cold]
    fn poll_progress_of_read(&self, reader: &Reader, op: &Operation<'_, '_>) {
        let own = op.cx.waker();
        self.poll_progress_for(&mut self.writer.lock(), own, |writer| {
            let reading = reader.waiters.combined(op.id, own);
            let all = writer.waiters.combined(&WaiterId::NONE, reading.as_ref().unwrap_or(own));
            all.or(reading)
        });
    }

    /// Sends what the transport takes. Outside of a runtime, the transport then knows one waker, and
    /// forgets the one before: it is that of all operations that wait, `all`, or `own` if there are no
    /// others.
    fn poll_progress_for(
        &self,
        writer: &mut Writer,
        own: &Waker,
        all: impl FnOnce(&Writer) -> Option<Waker>,
    ) {
        if self.flush.is(FlushState::Draining) {
            return;
        }
        if Handle::try_current().is_ok() {
            return self.flush_now(writer);
        }
        let all = all(writer);
        let cx = &mut Context::from_waker(all.as_ref().unwrap_or(own));
        match writer.poll_drain(Some(cx)) {
            Poll::Ready(drained) => {
                self.note_drained(writer, drained);
                writer.waiters.wake();
            }
            Poll::Pending => self.flush.store(FlushState::Stalled),
        }
    }

    /// An operation of the writing side is dropped. Outside of a runtime, the transport may have
    /// known its waker only: another operation goes on.
    #[cold]
    pub(crate) fn leave_write_queue(&self, id: &mut WaiterId) {
        self.writer.lock().waiters.leave(id);
        if self.flush.is(FlushState::Stalled) {
            self.reader.lock().waiters.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::Wake;

    use bytes::Bytes;

    use super::*;
    use crate::{Config, Conn, Role};

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// The write could not look for reads while another thread had their lock.
    #[test]
    fn outside_of_a_runtime_a_write_that_is_dropped_leaves_the_flush_to_a_read() {
        let (here, _there) = tokio::io::duplex(64);
        let config = Config::new().write_buffer(0, 0);
        let conn = Conn::from_stream(here, Role::Server, Default::default(), Bytes::new(), config);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(pin!(conn.write(vec![0; 1000])).poll(cx).is_ready());
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut read = pin!(conn.read());
        assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut write = Box::pin(conn.write("next"));
        let lock = conn.0.reader.lock();
        assert!(write.as_mut().poll(cx).is_pending());
        drop(lock);
        let before = count.0.load(Relaxed);
        drop(write);
        assert!(count.0.load(Relaxed) > before);
    }
}
