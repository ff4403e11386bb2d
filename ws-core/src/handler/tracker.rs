//! How are connections counted and drained when the server stops?

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::conn::WeakConn;
use crate::{Conn, StatusCode};

/// How long handlers may take to be dropped after the timeout.
const GRACE: Duration = Duration::from_secs(1);

/// Counts the connections of a server, and drains them when it stops.
///
/// A clone is a handle of the same tracker. All [`AcceptOptions`](crate::AcceptOptions::tracker)
/// with this tracker share its counts, also across adapters.
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
pub struct ConnectionTracker(Arc<TrackerState>);

#[derive(Default)]
struct TrackerState {
    members: Mutex<Members>,
    /// Notified when a connection has ended.
    left: Notify,
    /// Whether the timeout has passed.
    aborted: watch::Sender<bool>,
}

#[derive(Default)]
struct Members {
    last: u64,
    open: HashMap<u64, Member>,
    phase: Phase,
    /// All but `open`, which is the length of the map.
    counts: DrainCounts,
}

/// Which connections may open.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// All.
    #[default]
    Open,
    /// None. Those that were admitted before are closed.
    Closed,
    /// None. Those that were admitted before are aborted, since the timeout has passed.
    Aborted,
}

/// An open connection.
#[derive(Default)]
struct Member {
    /// `None` during the upgrade.
    conn: Option<WeakConn>,
    counted: Counted,
}

/// As what a drain has counted a connection.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Counted {
    #[default]
    Not,
    Notified,
    Aborted,
}

impl Members {
    fn conns(&self) -> impl Iterator<Item = (u64, WeakConn)> {
        self.open.iter().filter_map(|(&id, member)| Some((id, member.conn.clone()?)))
    }

    /// Counts a connection as notified, once.
    fn notify(&mut self, id: u64) {
        if let Some(member) = self.open.get_mut(&id)
            && member.counted == Counted::Not
        {
            member.counted = Counted::Notified;
            self.counts.notified += 1;
        }
    }

    /// Counts all connections as aborted, each once.
    fn abort(&mut self) {
        self.phase = Phase::Aborted;
        for member in self.open.values_mut().filter(|member| member.counted != Counted::Aborted) {
            member.counted = Counted::Aborted;
            self.counts.aborted += 1;
        }
    }

    /// Admits no more connections.
    fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closed;
        }
    }
}

/// The counts of a [`ConnectionTracker`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainCounts {
    /// Open connections, and upgrades in progress.
    pub open: usize,
    /// Connections that were opened and have ended. A handshake that is refused and an upgrade that
    /// fails do not count.
    pub ended: usize,
    /// Connections that were sent a close frame with 1001.
    pub notified: usize,
    /// Connections that were aborted at the timeout.
    pub aborted: usize,
}

/// How to drain a [`ConnectionTracker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct DrainConfig {
    timeout: Duration,
    batch: usize,
    pause: Duration,
}

impl DrainConfig {
    /// Sets the timeout. Connections that are still open then are aborted.
    pub const fn timeout(timeout: Duration) -> Self {
        Self { timeout, batch: 100, pause: Duration::from_millis(10) }
    }

    /// Sets how many connections are closed at once, and the pause between two batches, so that the
    /// clients do not all reconnect to another server at the same moment. Default: 100, 10 ms.
    ///
    /// Zero connections count as one.
    pub const fn batch(mut self, connections: usize, pause: Duration) -> Self {
        self.batch = if connections == 0 { 1 } else { connections };
        self.pause = pause;
        self
    }
}

impl ConnectionTracker {
    /// A tracker without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// The current counts, also during a drain.
    pub fn counts(&self) -> DrainCounts {
        let members = self.0.members.lock();
        DrainCounts { open: members.open.len(), ..members.counts }
    }

    /// Refuses new connections: upgrades are answered with 503.
    pub fn close(&self) {
        self.0.members.lock().close();
    }

    /// Whether new connections are refused.
    pub fn is_closed(&self) -> bool {
        self.0.members.lock().phase != Phase::Open
    }

    /// Drains the server: refuses new connections, closes the open ones with
    /// [1001](StatusCode::GOING_AWAY), in batches, and waits for their handlers. After the
    /// timeout, transports are aborted and handlers are dropped.
    ///
    /// Over HTTP/2, an open connection is a request in progress, and the graceful shutdown of
    /// the HTTP server waits for it: drain first, then shut down.
    ///
    /// Returns the counts. [`DrainCounts::open`] is 0, unless a handler blocks its thread, or the
    /// application holds a connection for which no adapter runs a handler.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the tracker closed. Another call continues the drain, and counts
    /// each connection once.
    pub async fn drain(&self, drain: DrainConfig) -> DrainCounts {
        let began = Instant::now();
        let conns = self.stop();
        tracing::info!(open = self.counts().open, "draining connections");
        // Dropped with this function: the closes that are left do not wait for their peers.
        let mut closing = JoinSet::new();
        let graceful = async {
            for (at, batch) in conns.chunks(drain.batch).enumerate() {
                if at > 0 {
                    sleep(drain.pause).await;
                }
                let open = batch.iter().filter_map(|(id, conn)| Some((*id, conn.upgrade()?)));
                for (id, conn) in open {
                    self.0.members.lock().notify(id);
                    closing.spawn(async move { conn.close(StatusCode::GOING_AWAY, "").await });
                }
            }
            self.emptied().await;
        };
        if timeout(drain.timeout, graceful).await.is_err() {
            self.abort_all();
            let _ = timeout(GRACE, self.emptied()).await;
        }
        let counts = self.counts();
        tracing::info!(
            notified = counts.notified,
            aborted = counts.aborted,
            open = counts.open,
            duration_ms = began.elapsed().as_millis() as u64,
            "connections drained"
        );
        counts
    }

    /// Counts a new connection. `None` when the tracker is closed.
    pub(super) fn admit(&self) -> Option<TrackedSlot> {
        let mut members = self.0.members.lock();
        if members.phase != Phase::Open {
            return None;
        }
        members.last += 1;
        let id = members.last;
        members.open.insert(id, Member::default());
        Some(TrackedSlot { tracker: self.clone(), id })
    }

    /// Refuses new connections, and returns the open ones.
    fn stop(&self) -> Vec<(u64, WeakConn)> {
        let mut members = self.0.members.lock();
        members.close();
        members.conns().collect()
    }

    async fn emptied(&self) {
        loop {
            // Before the check, so that an end in between is not missed.
            let left = self.0.left.notified();
            if self.0.members.lock().open.is_empty() {
                return;
            }
            left.await;
        }
    }

    fn abort_all(&self) {
        let conns: Vec<_> = {
            let mut members = self.0.members.lock();
            members.abort();
            members.conns().collect()
        };
        self.0.aborted.send_replace(true);
        for conn in conns.iter().filter_map(|(_, conn)| conn.upgrade()) {
            conn.close_now();
        }
    }
}

impl_debug!(ConnectionTracker, this => { counts: this.counts() });

/// Counts a connection until it is dropped.
pub(super) struct TrackedSlot {
    tracker: ConnectionTracker,
    id: u64,
}

impl TrackedSlot {
    /// Sets the connection. `false` when the tracker is closed: the connection is then closed, and
    /// after the timeout of a drain aborted.
    pub(super) fn attach(&self, conn: &Conn) -> bool {
        let mut members = self.tracker.0.members.lock();
        if let Some(member) = members.open.get_mut(&self.id) {
            member.conn = Some(conn.downgrade());
        }
        let phase = members.phase;
        if phase == Phase::Closed {
            members.notify(self.id);
        }
        drop(members);
        match phase {
            Phase::Open => {}
            Phase::Closed => conn.begin_close(StatusCode::GOING_AWAY),
            Phase::Aborted => conn.close_now(),
        }
        phase == Phase::Open
    }

    /// Counts a session that has no connection as ended, when the result is dropped.
    pub(super) const fn session(&self) -> TrackedSession<'_> {
        TrackedSession(&self.tracker)
    }

    /// Waits until the timeout of the drain has passed.
    pub(super) fn aborted(&self) -> impl Future<Output = ()> + Send + use<> {
        let tracker = self.tracker.clone();
        async move {
            // The sender lives as long as the tracker.
            let _ = tracker.0.aborted.subscribe().wait_for(|aborted| *aborted).await;
        }
    }
}

impl Drop for TrackedSlot {
    fn drop(&mut self) {
        let mut members = self.tracker.0.members.lock();
        let conn = members.open.remove(&self.id).and_then(|member| member.conn);
        members.counts.ended += usize::from(conn.is_some());
        drop(members);
        self.tracker.0.left.notify_waiters();
    }
}

/// A session without a connection.
pub(super) struct TrackedSession<'a>(&'a ConnectionTracker);

impl Drop for TrackedSession<'_> {
    fn drop(&mut self) {
        self.0.0.members.lock().counts.ended += 1;
    }
}
