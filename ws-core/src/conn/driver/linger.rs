//! How does a transport close after the connection has ended?

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::conn::driver::transport::{ReadHalf, WriteHalf};
use crate::proto::{Outbound, Role};

/// How many reads are dropped before other tasks run.
const READS: usize = 16;

/// How a transport closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// At once.
    Abort,
    /// At once, because the transport has ended. This direction ends, too.
    Ended,
    /// After the queued bytes are sent and the peer has closed its direction.
    Graceful,
}

/// A lingering close: sends what is queued, closes the writing direction, and waits until the
/// peer closes its own, all within the deadline of the closing handshake.
///
/// The server closes first, and the client waits for that (RFC 6455 §7.1.1). Both close their
/// writing direction: the end is `close_notify` over TLS (RFC 8446 §6.1) and END_STREAM over HTTP/2
/// (RFC 8441 §5). Without it, the peer sees an abort. Bytes that still arrive are read and dropped:
/// a socket that is closed with unread bytes resets the connection, and the peer may lose the close
/// frame.
pub(crate) struct Linger {
    read: ReadHalf,
    write: WriteHalf,
    queue: Outbound,
    shutdown: Shutdown,
    progress: Progress,
}

/// What has happened to the writing direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Sending,
    Sent,
    Closed,
}

impl Linger {
    /// Begins. A graceful shutdown runs in a task of its own, for at most `left`.
    pub(crate) fn begin(
        (read, write): (ReadHalf, WriteHalf),
        mut queue: Outbound,
        left: Duration,
        shutdown: Shutdown,
    ) {
        if shutdown != Shutdown::Graceful {
            queue.clear();
        }
        let write = match shutdown {
            Shutdown::Ended => write.drop_ended(),
            Shutdown::Abort | Shutdown::Graceful => Some(write),
        };
        let Some(write) = write else { return };
        let linger = Self { read, write, queue, shutdown, progress: Progress::Sending };
        if shutdown == Shutdown::Graceful
            && let Ok(runtime) = Handle::try_current()
        {
            // After the deadline, the transport is dropped.
            drop(runtime.spawn(async move { timeout(left, linger).await }));
        }
    }

    /// Sends what is queued, and closes the writing direction.
    fn poll_send(&mut self, cx: &mut Context<'_>, peer_has_closed: bool) -> Poll<io::Result<()>> {
        let Self { write, queue, progress, .. } = self;
        if *progress == Progress::Sending {
            ready!(write.poll_drain(queue, Some(cx)))?;
            *progress = Progress::Sent;
        }
        let is_next = queue.role() == Role::Server || peer_has_closed;
        if *progress == Progress::Sent && is_next {
            ready!(write.poll_shutdown(cx))?;
            *progress = Progress::Closed;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut dropped = [0; 4096];
        for _ in 0..READS {
            let mut buf = ReadBuf::new(&mut dropped);
            ready!(Pin::new(&mut self.read).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Future for Linger {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Receive while sending: a peer that writes before it reads would block both sides.
        let received = self.poll_receive(cx);
        ready!(self.poll_send(cx, received.is_ready()))?;
        received
    }
}

impl Drop for Linger {
    /// After the deadline, without a runtime, or when it shuts down: sends what the transport takes
    /// at once, and closes the writing direction unless the connection is aborted.
    fn drop(&mut self) {
        // A transport that panics once more during a panic would abort the process.
        if std::thread::panicking() {
            return;
        }
        let Self { write, queue, .. } = self;
        let is_sent = matches!(write.poll_drain(queue, None), Poll::Ready(Ok(())));
        if is_sent && self.shutdown != Shutdown::Abort && self.progress != Progress::Closed {
            let _ = self.write.poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::{Wake, Waker};

    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::task::unconstrained;

    use super::*;
    use crate::Config;
    use crate::conn::driver::transport;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A peer that sends on after the end does not keep other tasks from running.
    #[tokio::test]
    async fn received_bytes_are_dropped_in_turns() {
        const TURN: usize = 16 * 4096;
        for role in [Role::Client, Role::Server] {
            let (here, mut there) = duplex(10 * TURN);
            there.write_all(&vec![0; 10 * TURN]).await.unwrap();
            let (read, write, _) = transport::split(here, false, None);
            let queue = Outbound::new(role, &Config::new(), None);
            let (shutdown, progress) = (Shutdown::Graceful, Progress::Sending);
            let mut linger = pin!(Linger { read, write, queue, shutdown, progress });
            let wakes = Arc::new(Wakes::default());
            let waker = Waker::from(Arc::clone(&wakes));
            let mut poll = async || {
                let cx = &mut Context::from_waker(&waker);
                unconstrained(async { linger.as_mut().poll(cx) }).await
            };
            for turn in 1..=10 {
                assert!(poll().await.is_pending());
                assert_eq!(wakes.0.load(Relaxed), turn, "{role:?}");
            }
            assert!(poll().await.is_pending());
            assert_eq!(wakes.0.load(Relaxed), 10, "{role:?}: everything is dropped");
            drop(there);
            assert!(poll().await.is_ready());
        }
    }
}
