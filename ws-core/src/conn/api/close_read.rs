//! Who reads when the application only writes?

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use crate::conn::CloseInfo;
use crate::conn::driver::connection::Shared;
use crate::conn::driver::wait_queue::Ticket;

/// Reads a connection that only writes, and resolves when it has ended. Made by
/// [`Conn::close_read`](crate::conn::Conn::close_read).
#[must_use = "it may be dropped, but it tells how the connection ended"]
pub struct CloseRead {
    shared: Arc<Shared>,
    ticket: Ticket,
}

impl CloseRead {
    pub(crate) fn begin(shared: &Arc<Shared>) -> Self {
        let began = {
            let mut reader = shared.reader.lock();
            if let Some(message) = reader.unpark() {
                drop(message);
                shared.fault(&mut reader, crate::ProtocolError::UnexpectedMessage.into());
            }
            std::mem::replace(&mut reader.refusing, true)
        };
        if !began && let Ok(runtime) = Handle::try_current() {
            let task = Background { shared: Arc::downgrade(shared), ticket: Ticket::NONE };
            drop(runtime.spawn(task));
        }
        Self { shared: Arc::clone(shared), ticket: Ticket::NONE }
    }
}

impl Future for CloseRead {
    type Output = CloseInfo;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseInfo> {
        let Self { shared, ticket } = &mut *self;
        shared.poll_reading(ticket, |reader, ticket| reader.poll_end(shared, ticket, cx))
    }
}

impl Drop for CloseRead {
    fn drop(&mut self) {
        self.shared.leave_reading(&mut self.ticket);
    }
}

impl fmt::Debug for CloseRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseRead").field("conn", &self.shared.facts.id).finish_non_exhaustive()
    }
}

/// The task that reads. It holds the connection only while it is polled.
struct Background {
    shared: Weak<Shared>,
    ticket: Ticket,
}

impl Future for Background {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = self.shared.upgrade() else { return Poll::Ready(()) };
        let ended = shared
            .poll_reading(&mut self.ticket, |reader, ticket| reader.poll_end(&shared, ticket, cx));
        ended.map(drop)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.leave_reading(&mut self.ticket);
        }
    }
}
