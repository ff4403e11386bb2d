//! What does reconnecting need of the runtime: tasks, timers, close codes, the answer of the peer?

use std::fmt::Display;
use std::time::Duration;

use ws_core::proto::CloseFrame;
use ws_core::{Conn, SendError, StatusCode};

pub(crate) use tokio::time::Instant;

/// Fails if a close frame with this code and reason is invalid.
pub(crate) fn check_close(code: StatusCode, reason: &str) -> Result<(), SendError> {
    CloseFrame::new(code, reason).map(drop)
}

/// Runs a task in the background.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Waits.
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits before the next attempt to connect.
pub(crate) async fn wait_to_retry(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Lets other tasks run if this one has not waited for long.
pub(crate) async fn yield_in_turn() {
    tokio::task::coop::consume_budget().await;
}

/// Logs that there is no connection, and that another attempt follows.
pub(crate) fn log_retry(failure: &dyn Display, wait: Duration) {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    tracing::warn!(error = %failure, wait_ms, "no connection: another attempt follows");
}

/// Whether the peer has received all that was sent: it has answered a ping.
pub(crate) async fn has_answered(conn: &Conn) -> bool {
    conn.ping().await.is_ok()
}
