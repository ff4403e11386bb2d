//! How long may an opening handshake take?

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::url::Authority;
use crate::{DialError, DialStep, DialTimeout};

/// One deadline for all steps of an opening handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandshakeDeadline(Option<(Duration, Instant)>);

impl HandshakeDeadline {
    /// `timeout` from now; `None` means no deadline.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self(timeout.and_then(|timeout| Some((timeout, Instant::now().checked_add(timeout)?))))
    }

    /// The instant; `None` means no deadline.
    pub(crate) fn instant(self) -> Option<Instant> {
        self.0.map(|(_, end)| end)
    }

    /// Does one step of the handshake with a server; `None` if it is not known which. Returns
    /// [`DialError::Timeout`] when the deadline passes.
    pub(crate) async fn run<T, E: Into<DialError>>(
        self,
        server: &Authority,
        step: Option<DialStep>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, DialError> {
        let Some((limit, end)) = self.0 else { return work.await.map_err(Into::into) };
        match timeout_at(end, work).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => {
                let server = server.host_and_port().into();
                Err(DialError::Timeout(DialTimeout { limit, server, step }))
            }
        }
    }
}
