//! How long may an opening handshake take?

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::DialError;

/// The one deadline of all steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(Option<(Duration, Instant)>);

impl Patience {
    /// From now on this long, or for ever.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|limit| Some((limit, Instant::now().checked_add(limit)?))))
    }

    /// Waits for a step.
    pub(crate) async fn wait<T, E: Into<DialError>>(
        self,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, DialError> {
        let Some((limit, end)) = self.0 else { return step.await.map_err(Into::into) };
        match timeout_at(end, step).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(DialError::Timeout(limit)),
        }
    }

    /// Waits for the body of a refusal, which is worth three seconds at most.
    pub(crate) async fn wait_for_body(self, collected: impl Future<Output = ()>) {
        let soon = Instant::now() + Duration::from_secs(3);
        let end = self.0.map_or(soon, |(_, end)| end.min(soon));
        // Late is as good as short: what has arrived is kept.
        let _ = timeout_at(end, collected).await;
    }
}
