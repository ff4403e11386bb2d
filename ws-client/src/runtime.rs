//! What does reconnecting need of the runtime: tasks, timers, the answer of the peer?

use std::time::Duration;

use ws_core::Conn;

pub(crate) use tokio::time::Instant;

/// Runs a task in the background.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Waits before the next attempt to connect.
pub(crate) async fn wait_to_retry(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Whether the peer has received all that was sent: it has answered a ping.
pub(crate) async fn has_answered(conn: &Conn) -> bool {
    conn.ping().await.is_ok()
}
