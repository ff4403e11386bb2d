//! Who waits for the connections when the server stops?

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::conn::WeakConn;
use crate::{Conn, StatusCode};

/// How long a handler that was cut may take to be dropped.
const GRACE: Duration = Duration::from_secs(1);

/// Counts the connections of a server, and drains them when it stops.
///
/// A cheap handle: every [`AcceptOptions`](crate::AcceptOptions::tracker) that is given it
/// counts with it, whichever adapter they serve.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
/// use ws_core::handler::{DrainConfig, ConnectionTracker};
/// use ws_core::AcceptOptions;
///
/// let tracker = ConnectionTracker::new();
/// let options = AcceptOptions::new().tracker(&tracker);
/// // … serve until it is time to stop …
/// let counts = tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
/// assert_eq!(counts.open, 0);
/// # }
/// ```
#[derive(Clone, Default)]
pub struct ConnectionTracker(Arc<Inner>);

#[derive(Default)]
struct Inner {
    members: Mutex<Members>,
    /// Somebody has left.
    left: Notify,
    /// Is the time over?
    cut: watch::Sender<bool>,
}

#[derive(Default)]
struct Members {
    last: u64,
    /// Those that are here; without a connection while they wait for one.
    here: HashMap<u64, Option<WeakConn>>,
    closed: bool,
    ended: usize,
    told: usize,
    cut: usize,
}

/// What a [`ConnectionTracker`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainCounts {
    /// Connections that are there, and upgrades under way.
    pub open: usize,
    /// Those that have ended since the tracker was made, however they did.
    pub ended: usize,
    /// Those that were told that the server is going away.
    pub told: usize,
    /// Those that were cut because they were still there in the end.
    pub cut: usize,
}

/// How to drain a [`ConnectionTracker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct DrainConfig {
    within: Duration,
    batch: usize,
    pause: Duration,
}

impl DrainConfig {
    /// Waits for so long, and cuts what is left then.
    pub const fn timeout(patience: Duration) -> Self {
        Self { within: patience, batch: 100, pause: Duration::from_millis(10) }
    }

    /// How many connections are told at once, and how long to wait before the next: all of
    /// them may come back, to another server, in the same moment. Default: 100, each 10 ms.
    ///
    /// Zero connections are taken as one.
    pub const fn batch(mut self, connections: usize, pause: Duration) -> Self {
        self.batch = if connections == 0 { 1 } else { connections };
        self.pause = pause;
        self
    }
}

impl ConnectionTracker {
    /// A tracker that has counted nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it has counted so far; while it drains too.
    pub fn counts(&self) -> DrainCounts {
        let members = self.0.members.lock();
        let &Members { ended, told, cut, .. } = &*members;
        DrainCounts { open: members.here.len(), ended, told, cut }
    }

    /// Takes no more connections: from now on, upgrades are refused with 503.
    pub fn close(&self) {
        self.0.members.lock().closed = true;
    }

    /// Is it closed, or being drained?
    pub fn is_closed(&self) -> bool {
        self.0.members.lock().closed
    }

    /// Takes no more connections, tells those that are there that the server is
    /// [going away](StatusCode::GOING_AWAY), in batches, and waits for their handlers. What
    /// is left at the deadline is cut: transports go, and handlers are dropped where they
    /// wait.
    ///
    /// Over HTTP/2, an open connection is a request under way to the HTTP server, which waits
    /// for it when it shuts down gracefully: drain first, and shut down then.
    ///
    /// Returns what was counted. [`DrainCounts::open`] is 0 then, unless a handler blocks its
    /// thread, or the application holds on to a connection that no adapter runs a handler
    /// for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the tracker closed, and the rest as it is. Draining again
    /// goes on.
    pub async fn drain(&self, drain: DrainConfig) -> DrainCounts {
        let conns = self.stop();
        // Ends with this function: those that are left do not wait for their peers.
        let mut closing = JoinSet::new();
        let politely = async {
            for (at, batch) in conns.chunks(drain.batch).enumerate() {
                if at > 0 {
                    sleep(drain.pause).await;
                }
                for conn in batch.iter().filter_map(WeakConn::upgrade) {
                    self.0.members.lock().told += 1;
                    closing.spawn(async move { conn.close(StatusCode::GOING_AWAY, "").await });
                }
            }
            self.emptied().await;
        };
        if timeout(drain.within, politely).await.is_err() {
            self.cut();
            let _ = timeout(GRACE, self.emptied()).await;
        }
        self.counts()
    }

    /// Counts one more, unless it is too late.
    pub(super) fn admit(&self) -> Option<Ticket> {
        let mut members = self.0.members.lock();
        if members.closed {
            return None;
        }
        members.last += 1;
        let id = members.last;
        members.here.insert(id, None);
        Some(Ticket { tracker: self.clone(), id })
    }

    /// Takes no more, and says who is here.
    fn stop(&self) -> Vec<WeakConn> {
        let mut members = self.0.members.lock();
        members.closed = true;
        members.here.values().flatten().cloned().collect()
    }

    async fn emptied(&self) {
        loop {
            // Before it is asked, so that nobody leaves unnoticed in between.
            let left = self.0.left.notified();
            if self.0.members.lock().here.is_empty() {
                return;
            }
            left.await;
        }
    }

    fn cut(&self) {
        let conns: Vec<_> = {
            let mut members = self.0.members.lock();
            members.cut += members.here.len();
            members.here.values().flatten().cloned().collect()
        };
        self.0.cut.send_replace(true);
        for conn in conns.iter().filter_map(WeakConn::upgrade) {
            conn.close_now();
        }
    }
}

impl fmt::Debug for ConnectionTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionTracker").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// One that is counted, for as long as this lives.
pub(super) struct Ticket {
    tracker: ConnectionTracker,
    id: u64,
}

impl Ticket {
    /// Says whose connection it is. One that comes too late is told so at once: `false`.
    pub(super) fn attach(&self, conn: &Conn) -> bool {
        let mut members = self.tracker.0.members.lock();
        if let Some(member) = members.here.get_mut(&self.id) {
            *member = Some(conn.downgrade());
        }
        let late = members.closed;
        members.told += usize::from(late);
        drop(members);
        if late {
            conn.begin_close(StatusCode::GOING_AWAY);
        }
        !late
    }

    /// Waits until the time is over.
    pub(super) async fn cut(&self) {
        // The sender lives as long as the tracker.
        let _ = self.tracker.0.cut.subscribe().wait_for(|cut| *cut).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut members = self.tracker.0.members.lock();
        members.here.remove(&self.id);
        members.ended += 1;
        drop(members);
        self.tracker.0.left.notify_waiters();
    }
}
