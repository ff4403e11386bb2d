//! How long is anything waited for?

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

/// Waits for so long at most. Without a runtime there is no clock, and nothing is ever due, as
/// in a connection.
pub(crate) async fn within<T>(patience: Duration, what: impl Future<Output = T>) -> Option<T> {
    let what = pin!(what);
    match Handle::try_current() {
        Ok(_) => timeout(patience, what).await.ok(),
        Err(_) => Some(what.await),
    }
}
