//! How is a connection read in the background when the application only writes?

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use crate::conn::driver::connection::Connection;
use crate::conn::driver::wait_queue::WaiterId;
use crate::conn::{CloseInfo, Conn};

/// Reads a connection in the background, and resolves when it has ended. Made by
/// [`Conn::close_read`].
#[must_use = "it may be dropped, but it returns how the connection ended"]
pub struct CloseRead {
    connection: Arc<Connection>,
    id: WaiterId,
}

impl Conn {
    /// Reads in the background, for an application that only writes. It answers pings and detects
    /// the end at once, instead of within a second. A received message is an error, and closes the
    /// connection with 1008. Without a limit on the size of messages, a part of one is enough.
    ///
    /// The future resolves when the connection has ended. Dropping it changes nothing. Each call
    /// returns a future of its own. The background task ends with the connection and does not keep
    /// it open. Outside of a runtime there is no task, and the future itself reads while it is
    /// polled.
    pub fn close_read(&self) -> CloseRead {
        let connection = Arc::clone(&self.0);
        if connection.refuse_messages()
            && let Ok(runtime) = Handle::try_current()
        {
            let connection = Arc::downgrade(&connection);
            drop(runtime.spawn(BackgroundRead { connection, id: WaiterId::NONE }));
        }
        CloseRead { connection, id: WaiterId::NONE }
    }
}

impl Future for CloseRead {
    type Output = CloseInfo;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseInfo> {
        let Self { connection, id } = &mut *self;
        connection.poll_reading(id, cx, |reader, op| connection.poll_end(reader, op))
    }
}

impl Drop for CloseRead {
    fn drop(&mut self) {
        self.connection.leave_reading(&mut self.id);
    }
}

impl_debug!(CloseRead, this => { conn: this.connection.info.id });

/// The background task. It holds the connection only while it is polled.
struct BackgroundRead {
    connection: Weak<Connection>,
    id: WaiterId,
}

impl Future for BackgroundRead {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = self.connection.upgrade() else { return Poll::Ready(()) };
        let id = &mut self.id;
        connection.poll_reading(id, cx, |reader, op| connection.poll_end(reader, op)).map(drop)
    }
}

impl Drop for BackgroundRead {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.leave_reading(&mut self.id);
        }
    }
}
