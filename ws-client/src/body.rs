//! How much of the body of a refused response is read, and how long does that take?

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use crate::deadline::HandshakeDeadline;

/// How many bytes of a body are kept.
pub(crate) const MAX_BODY: usize = 1024;

/// How long a body is waited for, within the deadline of the handshake.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// Reads until `is_complete`, the end of the body, or the deadline, and appends to `body`.
///
/// A body that arrives late is cut, like one that is too long.
pub(crate) async fn collect_body(
    chunks: impl Stream<Item = Bytes>,
    body: &mut BytesMut,
    is_complete: impl Fn(&[u8]) -> bool,
    deadline: HandshakeDeadline,
) {
    let latest = Instant::now() + BODY_TIMEOUT;
    let end = deadline.instant().map_or(latest, |end| end.min(latest));
    let collect = async {
        let mut chunks = pin!(chunks);
        while !is_complete(body) {
            let Some(chunk) = chunks.next().await else { return };
            body.extend_from_slice(&chunk);
        }
    };
    let _ = timeout_at(end, collect).await;
}

/// The first [`MAX_BODY`] bytes of a body whose framing the HTTP library has removed.
pub(crate) async fn collect_decoded(
    chunks: impl Stream<Item = Bytes>,
    deadline: HandshakeDeadline,
) -> Bytes {
    let mut body = BytesMut::new();
    collect_body(chunks, &mut body, |body| body.len() >= MAX_BODY, deadline).await;
    body.truncate(MAX_BODY);
    body.freeze()
}
