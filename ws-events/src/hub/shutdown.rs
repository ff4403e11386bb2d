//! How does a hub stop without cutting anybody off?

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use ws_core::StatusCode;

use crate::Hub;

/// How long a connection that was cut may take to be gone.
const GRACE: Duration = Duration::from_secs(1);

/// What [`Hub::drain`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Drained {
    /// How many sockets were told.
    pub told: usize,
    /// How many of them were cut, since they did not end in time.
    pub cut: usize,
    /// How many are served still: a handler of theirs does not return, or they were not let
    /// in and have yet to answer that.
    pub left: usize,
}

impl Hub {
    /// Stops: lets nobody in any more, not even who is asked by middleware already, closes
    /// everyone with 1001, and waits until all have left and their `disconnect` has been
    /// handled. Those that take longer are cut.
    ///
    /// What was sent before is delivered to those who keep up. There is no way back: for
    /// that, see [`close_all`](Self::close_all).
    ///
    /// In a server with a graceful shutdown, drain first. Such a server does not wait for
    /// WebSockets over HTTP/1.1, and waits for those over HTTP/2 without an end. Where all of
    /// them are the hub's, this is all there is to drain.
    ///
    /// ```
    /// use std::time::Duration;
    /// use axum::Router;
    /// use ws_events::Hub;
    ///
    /// # async fn serve(listener: tokio::net::TcpListener, app: Router, hub: Hub) -> std::io::Result<()> {
    /// let stop = async move {
    ///     let _ = tokio::signal::ctrl_c().await;
    ///     let drained = hub.drain(Duration::from_secs(10)).await;
    ///     println!("{} told, {} cut", drained.told, drained.cut);
    /// };
    /// axum::serve(listener, app).with_graceful_shutdown(stop).await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped, the hub keeps draining, and another call can wait for the rest.
    pub async fn drain(&self, patience: Duration) -> Drained {
        self.0.draining.store(true, SeqCst);
        self.0.stopping.notify_waiters();
        // The code may be sent.
        let told = self.close_all(StatusCode::GOING_AWAY, "").unwrap_or(0);
        if timeout(patience, self.deserted()).await.is_ok() {
            return Drained { told, ..Drained::default() };
        }
        let late = self.everyone().sockets();
        let cut = late.len();
        for conn in late.iter().filter_map(crate::Socket::conn) {
            conn.close_now();
        }
        drop(late);
        let _ = timeout(GRACE, self.deserted()).await;
        Drained { told, cut, left: self.0.served.load(SeqCst) }
    }

    /// Waits until nobody is served.
    async fn deserted(&self) {
        loop {
            let mut left = std::pin::pin!(self.0.left.notified());
            // From here on, nothing is missed.
            left.as_mut().enable();
            if self.0.served.load(SeqCst) == 0 {
                return;
            }
            left.await;
        }
    }
}
