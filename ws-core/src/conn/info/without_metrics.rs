//! What replaces metrics without the feature `metrics`?

use std::time::Duration;

use tokio::time::Instant;

use super::stats::ConnStats;
use crate::StatusCode;
use crate::close_info::CloseInitiator;
use crate::proto::Role;

/// Nothing.
pub(crate) struct ConnMetrics;

#[expect(clippy::needless_pass_by_ref_mut, reason = "the methods with metrics change it")]
impl ConnMetrics {
    pub(crate) const IS_ON: bool = false;

    pub(crate) const fn opened(_: Role) -> Self {
        Self
    }

    pub(crate) const fn ping_sent(&mut self, _: [u8; 8]) {}

    pub(crate) const fn pong_received(&mut self, _: &[u8]) {}

    pub(crate) const fn rtt(&self, _: Duration) {}

    pub(crate) const fn hand_over(&mut self, _: &ConnStats) {}

    pub(crate) const fn ended(&mut self, _: CloseInitiator, _: StatusCode, _: &ConnStats) {}
}

#[cfg(feature = "server")]
pub(crate) const fn refused(_: crate::refusal_log::RefusalKind) {}

pub(crate) const fn handshake_completed(_: Role, _: Instant) {}
