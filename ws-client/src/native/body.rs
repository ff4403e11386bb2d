//! How much of the body of a refused response is read, and how long does that take?

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::deadline::HandshakeDeadline;

/// How many bytes of a body are kept.
pub(crate) const MAX_BODY: usize = 1024;

/// How long a body is waited for, within the deadline of the handshake.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs `read`, which appends the body to a buffer, to its end or until the time is over.
///
/// A body that arrives late is cut, like one that is too long.
pub(crate) async fn read_in_time(deadline: HandshakeDeadline, read: impl Future<Output = ()>) {
    let latest = Instant::now() + BODY_TIMEOUT;
    let end = deadline.instant().map_or(latest, |end| end.min(latest));
    let _ = timeout_at(end, read).await;
}
