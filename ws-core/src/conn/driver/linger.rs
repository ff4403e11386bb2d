//! What is still to be done when a connection has ended?

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::conn::driver::transport::{ReadHalf, WriteHalf};
use crate::proto::{Role, SendBuffer};

/// How a transport goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// At once.
    Cut,
    /// After what is queued, and when the peer has taken notice.
    Linger,
}

/// Writes what is queued, says that nothing more will come, and waits for the peer to
/// hang up, all within the closing handshake's deadline.
///
/// A server says first that it is done; a client waits for that (RFC 6455 §7.1.1).
/// What still arrives is read and dropped: a socket that is closed over unread bytes
/// resets the connection, and the peer might lose our close frame by it.
pub(crate) struct Farewell {
    read: ReadHalf,
    write: WriteHalf,
    queue: SendBuffer,
    role: Role,
    left: Duration,
    said: bool,
}

impl Farewell {
    pub(crate) const fn new(
        read: ReadHalf,
        write: WriteHalf,
        queue: SendBuffer,
        role: Role,
        left: Duration,
    ) -> Self {
        Self { read, write, queue, role, left, said: false }
    }

    /// Begins, in a task of its own if it has to wait.
    pub(crate) fn begin(mut self, manner: Manner) {
        if manner == Manner::Cut {
            self.queue.clear();
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let left = self.left;
            drop(runtime.spawn(async move {
                // Past the deadline, the transport goes anyhow.
                let _ = timeout(left, self).await;
            }));
        }
    }

    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { write, queue, .. } = self;
        ready!(write.poll_drain(queue, Some(cx)))?;
        if self.role == Role::Server {
            ready!(self.write.poll_shutdown(cx))?;
        }
        self.said = true;
        Poll::Ready(Ok(()))
    }

    fn poll_listen(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut dropped = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut dropped);
            ready!(Pin::new(&mut self.read).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Future for Farewell {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Listen meanwhile: a peer that writes and does not read is not to be waited for
        // in vain, and its bytes must not fill the socket.
        let heard = self.poll_listen(cx);
        if !self.said {
            ready!(self.poll_say(cx))?;
        }
        heard
    }
}

impl Drop for Farewell {
    /// Without a runtime to wait in, or when it ends: what the transport takes at once.
    fn drop(&mut self) {
        // A transport that has just panicked must not do so again: that ends the process.
        if !std::thread::panicking() {
            let Self { write, queue, .. } = self;
            let _ = write.poll_drain(queue, None);
        }
    }
}
