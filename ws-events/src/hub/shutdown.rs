//! How does a hub shut down gracefully?

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use tokio::time::{Instant, timeout};
use ws_core::StatusCode;

use crate::Hub;
use crate::delivery::recipient::Recipient as _;
use crate::link::Link;

/// How long an aborted connection may take to end.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of [`Hub::drain`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DrainReport {
    /// The sockets that were closed with 1001.
    pub notified: usize,
    /// Those of them that were aborted, since they did not end in time.
    pub aborted: usize,
    /// The connections that are still served: a handler has not returned, or a rejected peer
    /// has not answered the close frame.
    pub remaining: usize,
}

impl Hub {
    /// Shuts down, with all [namespaces](Self::of): rejects new connections, including those that
    /// middleware is checking, closes all sockets with 1001, and waits until all have left and
    /// their `disconnect` was handled. Sockets that take longer than `limit` are aborted.
    ///
    /// New connections get 503 if the hub has the [tracker](crate::HubBuilder::tracker) of its
    /// servers, and the close code 1001 otherwise.
    ///
    /// All sockets are closed at once. To close them in batches, so that the clients do not all
    /// reconnect at the same moment, drain the tracker first:
    /// `tracker.drain(DrainConfig::timeout(limit).batch(100, pause))` closes the connections without
    /// the messages that are still queued. Then call this, for what is left and for the cluster.
    ///
    /// Queued messages are delivered to peers that keep up. Of a client of Socket.IO that polls,
    /// the drain also waits for the GET that fetches them and the end. Then other nodes take the
    /// sessions that wait for their clients, if there is a [store](crate::Recovery::store) of them,
    /// the store of the histories stores what is queued, and the hub publishes what
    /// [`OutagePolicy::Buffer`](crate::cluster::OutagePolicy::Buffer) holds, and leaves its
    /// [cluster](crate::cluster): each step has at least 1 s. A drain cannot be undone:
    /// [`close_all`](Self::close_all) closes all sockets of a hub that continues.
    ///
    /// In a server with a graceful shutdown, drain first. Such a server does not wait for
    /// WebSockets over HTTP/1.1. It waits for those over HTTP/2: `serve_until` of an adapter for at
    /// most 10 s, `axum::serve` without a limit. If all WebSockets of the server belong to the hub,
    /// nothing else has to be drained.
    ///
    /// ```
    /// use std::time::Duration;
    /// use axum::Router;
    /// use ws_events::Hub;
    /// use ws_server_axum::{serve_until, shutdown_signal};
    ///
    /// # async fn serve(listener: tokio::net::TcpListener, app: Router, hub: Hub) -> std::io::Result<()> {
    /// let stop = async move {
    ///     shutdown_signal().await; // Ctrl-C or SIGTERM.
    ///     let report = hub.drain(Duration::from_secs(10)).await;
    ///     println!("{} notified, {} aborted", report.notified, report.aborted);
    /// };
    /// serve_until(listener, app, stop).await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the hub continues to drain. Another call can wait for the end.
    #[doc(alias = "shutdown")]
    pub async fn drain(&self, limit: Duration) -> DrainReport {
        let began = Instant::now();
        if let Some(tracker) = &self.0.tracker {
            tracker.close();
        }
        self.0.draining.store(true, SeqCst);
        // A namespace that is created from here on is draining, too.
        let mut hubs = self.0.namespaces.all();
        hubs.push(self.clone());
        let sockets: usize = hubs.iter().map(Self::len).sum();
        tracing::info!(sockets, "draining a hub");
        let mut notified = 0;
        for hub in &hubs {
            hub.0.draining.store(true, SeqCst);
            hub.0.drain_started.notify_waiters();
            // The code is allowed in a close frame.
            notified += hub.close_all(StatusCode::GOING_AWAY, "").unwrap_or(0);
        }
        let report = match timeout(limit, wait_until_idle(&hubs)).await {
            Ok(()) => DrainReport { notified, ..DrainReport::default() },
            Err(_) => {
                let aborted = abort_all(&hubs).await;
                let remaining = hubs.iter().map(|hub| hub.0.active.load(SeqCst)).sum();
                DrainReport { notified, aborted, remaining }
            }
        };
        if self.0.root.is_none() {
            // The last messages of handlers have to get out.
            let deadline = began + limit;
            let least = Instant::now() + ABORT_TIMEOUT;
            let recoveries: Vec<_> =
                hubs.iter().filter_map(|hub| hub.0.shared_recovery().cloned()).collect();
            let leaving = recoveries.iter().map(|it| it.leave_to_others(least.max(deadline)));
            join_all(leaving).await;
            if let Some(recovery) = self.0.recovery() {
                recovery.shut_down_store(Instant::now() + ABORT_TIMEOUT).await;
            }
            if let Some(history) = &self.0.history {
                let least = Instant::now() + ABORT_TIMEOUT;
                history.store.shutdown(least.max(deadline)).await;
            }
            if let Some(cluster) = &self.0.cluster {
                let least = Instant::now() + ABORT_TIMEOUT;
                cluster.shut_down(least.max(deadline)).await;
            }
        }
        tracing::info!(
            notified,
            aborted = report.aborted,
            remaining = report.remaining,
            duration_ms = began.elapsed().as_millis() as u64,
            "hub drained"
        );
        report
    }

    /// Waits until no connection and no session is served.
    async fn wait_until_idle(&self) {
        loop {
            let mut idle = std::pin::pin!(self.0.idle.notified());
            // From here on, no notification is missed.
            idle.as_mut().enable();
            if self.0.active.load(SeqCst) == 0 && self.0.sessions.load(SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// Aborts the connections of all sockets, and waits for their end. Returns their number.
async fn abort_all(hubs: &[Hub]) -> usize {
    let late: Vec<_> = hubs.iter().flat_map(|hub| hub.everyone().sockets()).collect();
    let aborted = late.len();
    for socket in &late {
        socket.0.with_link(Link::close_now);
    }
    drop(late);
    let _ = timeout(ABORT_TIMEOUT, wait_until_idle(hubs)).await;
    aborted
}

async fn wait_until_idle(hubs: &[Hub]) {
    for hub in hubs {
        hub.wait_until_idle().await;
    }
}
