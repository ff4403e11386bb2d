//! Which signals ask a server to stop?

use std::future;
#[cfg(unix)]
use std::task::Poll;

/// Waits for a signal that asks the program to stop: SIGINT, which Ctrl-C sends, or SIGTERM, which
/// systemd, Docker and Kubernetes send. On Windows: Ctrl-C.
///
/// Await it in the `signal` future of [`serve_until`](crate::serve_until), and drain the
/// connections after it. Without this, SIGTERM ends the program at once, and resets all
/// connections.
///
/// From the first poll on, the two signals no longer end the program. A signal that cannot be
/// listened for has its default action.
///
/// # Cancel safety
///
/// Dropping the future does not restore the default action of the signals.
///
/// # Panics
///
/// Without a tokio runtime with I/O enabled, as `tokio::signal` does.
#[doc(alias("sigterm", "sigint", "ctrl_c", "kill"))]
pub async fn shutdown_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        let mut signals: Vec<_> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
        future::poll_fn(|cx| {
            let received = signals.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
            if received { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_err() {
        future::pending::<()>().await;
    }
}
