//! How much of the body of a refused response is read, and how long does that take?

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use crate::deadline::HandshakeDeadline;

/// How many bytes of a body are kept.
pub(crate) const MAX_BODY: usize = 1024;

/// How long a body is waited for, within the deadline of the handshake.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the bytes of a body come from.
pub(crate) trait BodySource: Send {
    /// The next bytes. `None` at the end of the body, and after an error.
    fn next_chunk(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// Reads until `is_complete`, the end of the body, or the deadline, and appends to `body`.
///
/// A body that arrives late is cut, like one that is too long.
pub(crate) async fn collect_body(
    mut source: impl BodySource,
    body: &mut BytesMut,
    is_complete: impl Fn(&[u8]) -> bool,
    deadline: HandshakeDeadline,
) {
    let latest = Instant::now() + BODY_TIMEOUT;
    let end = deadline.instant().map_or(latest, |end| end.min(latest));
    let collect = async {
        while !is_complete(body) {
            let Some(chunk) = source.next_chunk().await else { return };
            body.extend_from_slice(&chunk);
        }
    };
    let _ = timeout_at(end, collect).await;
}

/// The first [`MAX_BODY`] bytes of a body whose framing the HTTP library has removed.
pub(crate) async fn collect_decoded(source: impl BodySource, deadline: HandshakeDeadline) -> Bytes {
    let mut body = BytesMut::new();
    collect_body(source, &mut body, |body| body.len() >= MAX_BODY, deadline).await;
    body.truncate(MAX_BODY);
    body.freeze()
}
