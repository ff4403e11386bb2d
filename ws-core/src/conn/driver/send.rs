//! How does an operation write, and when do queued bytes go to the transport?
//!
//! A write queues its message and tries the transport in the same call. A full transport is the
//! subject of [`backpressure`](super::backpressure). A write that finds more whole frames buffered
//! on the reading side defers its bytes, so that the answers to a burst leave together: when no
//! whole frame is buffered, and at the latest on the next turn of the scheduler ([`deferred_flush`]).
//! The [`FlushState`] records the next step. Writes that wait for the lock send the bytes before them.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::MutexGuard;

use crate::conn::driver::connection::Connection;
use crate::conn::driver::state::FlushState;
use crate::conn::driver::wait_queue::{Operation, WaiterId};
use crate::conn::driver::writer::{DirectWrite, Writer};
use crate::conn::runtime::deferred_flush::{self, Flush};
use crate::frame::Frame;
use crate::proto::CloseState;
use crate::{Error, Message, PreparedMessage, TryWriteError};

/// The result of [`write_batch`](crate::adapter::write_batch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// How many messages were taken.
    pub messages: usize,
    /// Whether the transport has all of them. If not, the rest is queued in the connection, and
    /// is sent as the transport takes more.
    pub flushed: bool,
}

impl Batch {
    /// The result for a transport that is not a connection.
    pub const fn new(messages: usize, flushed: bool) -> Self {
        Self { messages, flushed }
    }
}

/// A slot in the wait queue of the writing side, given up when this is dropped.
struct WriteSlot<'a> {
    connection: &'a Connection,
    id: WaiterId,
}

impl Drop for WriteSlot<'_> {
    #[inline]
    fn drop(&mut self) {
        self.connection.leave_writing(&mut self.id);
    }
}

impl Connection {
    /// Writes a message.
    #[inline]
    pub(crate) fn write(&self, message: Message) -> impl Future<Output = Result<(), Error>> + Send {
        let mut slot = WriteSlot { connection: self, id: WaiterId::NONE };
        let mut message = Some(message);
        poll_fn(move |cx| slot.connection.poll_write(&mut message, &mut slot.id, cx))
    }

    /// Waits for an operation of the writing side.
    #[inline]
    pub(crate) fn wait_writing<T>(
        &self,
        mut poll: impl FnMut(&Self, &mut Writer, &mut Operation<'_, '_>) -> Poll<T>,
    ) -> impl Future<Output = T> {
        let mut slot = WriteSlot { connection: self, id: WaiterId::NONE };
        poll_fn(move |cx| {
            let WriteSlot { connection, id } = &mut slot;
            connection.poll_writing(id, cx, |writer, op| poll(connection, writer, op))
        })
    }

    /// Polls until the message is queued. The fast path comes first: the message is short and
    /// uncompressed, and there is room for it.
    #[inline]
    pub(crate) fn poll_write(
        &self,
        message: &mut Option<Message>,
        id: &mut WaiterId,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut writer = self.writer.try_lock().unwrap_or_else(|| self.wait_to_write());
        if self.is_common(&writer, id)
            && message.as_ref().is_some_and(|message| self.write_fast(&mut writer, message))
        {
            *message = None;
            self.unlock_writer(writer);
            return Poll::Ready(Ok(()));
        }
        let op = &mut Operation::new(id, cx);
        let polled = self.poll_write_slow(&mut writer, message, op);
        if polled.is_ready() {
            writer.waiters.leave(id);
        }
        self.unlock_writer(writer);
        polled
    }

    /// Whether the fast path applies: a message may be queued now.
    #[inline]
    fn is_common(&self, writer: &Writer, id: &WaiterId) -> bool {
        self.state.load().can_send()
            && writer.is_attached()
            && !(id.is_waiting() | writer.outbound.is_streaming())
            && writer.outbound.buffered() <= self.info.config.high_watermark
    }

    /// Sends a short message: past the queue if that is empty, and no other message is about to
    /// follow. Returns whether it did; if not, the slow path finds the reason again.
    #[inline]
    fn write_fast(&self, writer: &mut Writer, message: &Message) -> bool {
        let more = self.is_followed();
        if more || !writer.outbound.is_empty() {
            if !writer.queue_short(message) {
                return false;
            }
            self.send(writer, more);
            return writer.is_attached();
        }
        // The transport has the waker of a flush task.
        if self.flush.is(FlushState::Draining) {
            return false;
        }
        match writer.write_direct(message) {
            DirectWrite::Sent => true,
            DirectWrite::Queued => {
                self.flush_now(writer);
                writer.is_attached()
            }
            DirectWrite::NotSent => false,
        }
    }

    /// Queues a message by `queue` when there is room for it, and sends it or defers that.
    pub(crate) fn poll_queue(
        &self,
        writer: &mut Writer,
        op: &mut Operation<'_, '_>,
        defer: bool,
        queue: impl FnOnce(&mut Writer),
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_room(writer, op))?;
        queue(writer);
        self.send(writer, defer);
        Poll::Ready(writer.result())
    }

    /// Queues a message, by the slow path.
    #[cold]
    fn poll_write_slow(
        &self,
        writer: &mut Writer,
        message: &mut Option<Message>,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<(), Error>> {
        self.poll_queue(writer, op, self.is_followed(), |writer| writer.queue_next(message))
    }

    /// Waits for the lock behind other writes.
    #[cold]
    fn wait_to_write(&self) -> MutexGuard<'_, Writer> {
        self.contenders.fetch_add(1, Relaxed);
        let writer = self.writer.lock();
        // Under the lock: its next holder sees only those that still wait.
        self.contenders.fetch_sub(1, Relaxed);
        writer
    }

    /// Whether more bytes are about to follow, which are sent together with those of this write.
    #[inline]
    fn is_followed(&self) -> bool {
        self.more.load(Relaxed) || self.contenders.load(Relaxed) > 0
    }

    pub(crate) fn write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        writer: &mut Writer,
        take: &mut impl FnMut(usize) -> I,
    ) -> Result<Batch, Error> {
        let before = writer.messages;
        while let Some(room) =
            self.info.config.high_watermark.checked_sub(writer.outbound.buffered())
        {
            let so_far = writer.messages;
            for message in take(room) {
                writer.queue_prepared(&message);
            }
            if writer.messages == so_far {
                break;
            }
        }
        self.flush_now(writer);
        let messages = usize::try_from(writer.messages - before).unwrap_or(usize::MAX);
        writer.result().map(|()| Batch { messages, flushed: writer.is_flushed() })
    }

    /// Queues a message by `queue` if there is room for it now.
    pub(crate) fn try_write(
        &self,
        defer: bool,
        queue: impl FnOnce(&mut Writer),
    ) -> Result<(), TryWriteError> {
        let mut writer = self.writer.lock();
        let tried = self.check_room(&mut writer).and_then(|()| {
            queue(&mut writer);
            self.send(&mut writer, defer);
            Ok(writer.result()?)
        });
        self.unlock_writer(writer);
        tried
    }

    /// Queues a frame that the application has made if there is room for it now.
    pub(crate) fn try_write_frame(&self, frame: &Frame) -> Result<(), TryWriteError> {
        let mut writer = self.writer.lock();
        if frame.is_control() || writer.outbound.is_sending_raw_frames() {
            self.check_below_watermark(&mut writer)?;
        } else {
            self.check_room(&mut writer)?;
        }
        Ok(self.write_frame(&mut writer, frame)?)
    }

    /// Queues a frame that the application has made.
    pub(crate) fn poll_write_frame(
        &self,
        writer: &mut Writer,
        frame: &Frame,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<(), Error>> {
        if frame.is_control() || writer.outbound.is_sending_raw_frames() {
            ready!(self.poll_below_watermark(writer, op))?;
        } else {
            ready!(self.poll_room(writer, op))?;
        }
        Poll::Ready(self.write_frame(writer, frame))
    }

    fn write_frame(&self, writer: &mut Writer, frame: &Frame) -> Result<(), Error> {
        writer.outbound.frame(frame)?;
        if !frame.is_control() && frame.is_fin() {
            writer.messages += 1;
            writer.waiters.wake();
        }
        self.flush_now(writer);
        writer.result()
    }

    /// Sends a pong.
    pub(crate) fn pong(&self, payload: Bytes) -> Result<(), Error> {
        let mut writer = self.writer.lock();
        self.check_open(&writer)?;
        writer.outbound.pong(payload)?;
        self.flush_now(&mut writer);
        Ok(())
    }

    /// Whether answers to a burst are queued that a flush need not wait for.
    #[inline]
    pub(crate) fn has_deferred(&self) -> bool {
        match self.flush.load() {
            FlushState::Deferred | FlushState::Scheduled => true,
            FlushState::Draining => self.drains_answers(),
            FlushState::Idle | FlushState::Stalled => false,
        }
    }

    /// Whether the flush task sends answers that would be deferred otherwise.
    #[cold]
    fn drains_answers(&self) -> bool {
        let queued = self.writer.lock().outbound.buffered();
        self.more.load(Relaxed) && queued < self.info.config.write_batch
    }

    /// Whether anything may be sent.
    #[inline]
    pub(crate) fn check_open(&self, writer: &Writer) -> Result<(), Error> {
        if self.state.load().can_send() && writer.is_attached() {
            return Ok(());
        }
        Err(self.why_not_open(writer))
    }

    #[cold]
    fn why_not_open(&self, writer: &Writer) -> Error {
        match self.state.load() {
            CloseState::CloseSent | CloseState::HalfClosedLocal | CloseState::ClosedLocal => {
                Error::CloseSent
            }
            CloseState::Open
            | CloseState::Tunnel
            | CloseState::HalfClosedRemote
            | CloseState::AnswerHeld
            | CloseState::Closed => {
                let error = || writer.error().cloned();
                self.end_error().or_else(error).unwrap_or_else(Error::abnormal)
            }
        }
    }

    /// Sends what is queued, or defers it. [`unlock_writer`](Self::unlock_writer) schedules the
    /// flush.
    #[inline]
    pub(crate) fn send(&self, writer: &mut Writer, defer: bool) {
        if defer && writer.outbound.buffered() < self.info.config.write_batch {
            match self.flush.load() {
                FlushState::Idle => return self.flush.store(FlushState::Deferred),
                FlushState::Deferred | FlushState::Scheduled | FlushState::Draining => return,
                FlushState::Stalled => {}
            }
        }
        self.flush_now(writer);
    }

    /// Sends what is queued.
    pub(crate) fn flush(&self) {
        self.flush_now(&mut self.writer.lock());
    }

    /// Sends what the transport takes at once, and leaves the rest to a task.
    #[inline]
    pub(crate) fn flush_now(&self, writer: &mut Writer) {
        match self.flush.load() {
            // The transport is full while a task waits for it.
            FlushState::Draining => return,
            // Now, since the transport may panic: a later write then schedules a flush again.
            FlushState::Deferred | FlushState::Scheduled => self.flush.store(FlushState::Idle),
            FlushState::Idle | FlushState::Stalled => {}
        }
        match writer.poll_drain(None) {
            Poll::Ready(drained) => self.note_drained(writer, drained),
            Poll::Pending => self.flush_later(writer),
        }
    }

    /// The transport has everything that was queued, or has failed.
    #[inline]
    pub(crate) fn note_drained(&self, writer: &mut Writer, drained: io::Result<()>) {
        self.flush.store(FlushState::Idle);
        if let Err(error) = drained {
            writer.fail(Error::from_io(error));
        }
    }

    /// Polls an operation of the writing side, which gives up its slot when it is done.
    #[inline]
    pub(crate) fn poll_writing<T>(
        &self,
        id: &mut WaiterId,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Writer, &mut Operation<'_, '_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut writer = self.writer.lock();
        let polled = poll(&mut writer, &mut Operation::new(id, cx));
        if polled.is_ready() {
            writer.waiters.leave(id);
        }
        self.unlock_writer(writer);
        polled
    }

    /// Releases the writer, and schedules the flush of what was deferred. A write that waits for the
    /// lock ends with this call too, so it is left to the last one.
    #[inline]
    pub(crate) fn unlock_writer(&self, writer: MutexGuard<'_, Writer>) {
        if self.flush.is(FlushState::Deferred) && self.contenders.load(Relaxed) == 0 {
            self.flush.store(FlushState::Scheduled);
            drop(writer);
            if !deferred_flush::schedule(self.this.clone()) {
                self.flush();
            }
        }
    }

    /// Gives up a slot of the writing side. A completed operation has none.
    #[inline]
    pub(crate) fn leave_writing(&self, id: &mut WaiterId) {
        if id.is_waiting() {
            self.leave_write_queue(id);
        }
    }
}

impl Flush for Connection {
    fn flush_deferred(&self) {
        self.flush_if_deferred();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, IoSlice};
    use std::pin::{Pin, pin};
    use std::sync::{Arc, Mutex, mpsc};
    use std::task::Waker;
    use std::thread;

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;
    use crate::{Config, Conn, Role};

    /// A transport whose first write takes until the test lets it go on.
    struct Gate {
        writes: Arc<Mutex<Vec<usize>>>,
        closed: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>,
    }

    impl AsyncRead for Gate {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Gate {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let len = bufs.iter().map(|buf| buf.len()).sum();
            self.writes.lock().unwrap().push(len);
            if let Some((entered, open)) = self.closed.take() {
                entered.send(()).unwrap();
                open.recv().unwrap();
            }
            Poll::Ready(Ok(len))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn write(conn: &Conn) {
        let written = pin!(conn.write("four")).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(written, Poll::Ready(Ok(()))));
    }

    #[test]
    fn writes_that_meet_reach_the_transport_together() {
        const WRITERS: u16 = 32;
        let (entered, has_entered) = mpsc::channel();
        let (open, is_open) = mpsc::channel();
        let writes = Arc::<Mutex<Vec<usize>>>::default();
        let gate = Gate { writes: Arc::clone(&writes), closed: Some((entered, is_open)) };
        let negotiated = Default::default();
        let conn = Conn::from_stream(gate, Role::Server, negotiated, Bytes::new(), Config::new());
        thread::scope(|scope| {
            scope.spawn(|| write(&conn));
            has_entered.recv().unwrap();
            for _ in 0..WRITERS {
                scope.spawn(|| write(&conn));
            }
            while conn.0.contenders.load(Relaxed) < WRITERS {
                thread::yield_now();
            }
            open.send(()).unwrap();
        });
        // A frame has two bytes more than its payload.
        assert_eq!(*writes.lock().unwrap(), [6, 6 * usize::from(WRITERS)]);
    }
}
