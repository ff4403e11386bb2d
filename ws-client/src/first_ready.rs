//! Which of two futures is ready first?

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Runs two futures until one ends, and drops the other. If both are ready, the first one wins.
///
/// `tokio::select!` does the same, and needs one more crate.
pub(crate) async fn first_ready<T>(
    first: impl Future<Output = T>,
    second: impl Future<Output = T>,
) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Pending => second.as_mut().poll(cx),
        ready @ Poll::Ready(_) => ready,
    })
    .await
}
