//! Which task sends the rest when the transport is full, and gives up if the peer takes nothing?

use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::conn::driver::connection::Connection;
use crate::conn::driver::deadlines::WriteDeadline;
use crate::conn::driver::state::FlushState;
use crate::conn::driver::wait_queue::{Operation, WaiterId};
use crate::conn::driver::writer::Writer;

impl Connection {
    /// Leaves the rest to a task or, without a runtime, to the operations that are polled.
    pub(crate) fn flush_later(&self, writer: &Writer) {
        match Handle::try_current() {
            Ok(runtime) => {
                self.flush.store(FlushState::Draining);
                let task = FlushTask::new(self.this.clone(), self.info.config.write_timeout);
                // A runtime that shuts down drops the task in this call: it is `Stalled` then.
                drop(runtime.spawn(task));
            }
            Err(_) => {
                self.flush.store(FlushState::Stalled);
                // This call was not for a task, and a stream may have forgotten the one that waited.
                writer.waiters.wake();
                // If a caller has this lock, it reads next.
                if let Some(reader) = self.reader.try_lock() {
                    reader.waiters.wake();
                }
            }
        }
    }
}

/// Empties the queue of a connection whose transport is full.
///
/// It holds the connection only while it is polled: when the last handle is dropped, the
/// lingering close sends the rest.
struct FlushTask {
    connection: Weak<Connection>,
    /// The timeout for a transport that takes nothing.
    deadline: Option<WriteDeadline>,
    /// Its slot among the operations of the writing side: the end of the connection wakes them.
    id: WaiterId,
    polled: bool,
}

impl FlushTask {
    fn new(connection: Weak<Connection>, timeout: Option<Duration>) -> Self {
        let deadline = timeout.map(WriteDeadline::new);
        Self { connection, deadline, id: WaiterId::NONE, polled: false }
    }
}

impl Future for FlushTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = self.connection.upgrade() else { return Poll::Ready(()) };
        let mut writer = connection.writer.lock();
        let drained = writer.poll_drain(Some(cx));
        let taken = writer.outbound.sent();
        if writer.outbound.buffered() <= connection.info.config.low_watermark {
            writer.waiters.wake_others(&self.id);
        }
        match drained {
            Poll::Ready(drained) => {
                writer.waiters.leave(&mut self.id);
                // Now, not when this task is dropped: a write may come before that.
                connection.note_drained(&mut writer, drained);
                self.connection = Weak::new();
                return Poll::Ready(());
            }
            Poll::Pending => {
                writer.waiters.wait(&mut Operation::new(&mut self.id, cx));
                drop(writer);
            }
        }
        if !std::mem::replace(&mut self.polled, true) {
            // A task that is stuck in a write polls no operation that reads.
            connection.watch(&mut connection.reader.lock());
        }
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        ready!(deadline.poll(taken, cx));
        connection.write_timed_out();
        Poll::Ready(())
    }
}

impl Drop for FlushTask {
    /// A runtime that shuts down drops its tasks, some in the call that spawns them. Another
    /// operation has to flush then, and is woken for that.
    fn drop(&mut self) {
        let Some(connection) = self.connection.upgrade() else { return };
        connection.flush.store(FlushState::Stalled);
        if self.polled {
            connection.reader.lock().waiters.wake();
            let mut writer = connection.writer.lock();
            writer.waiters.leave(&mut self.id);
            writer.waiters.wake();
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
