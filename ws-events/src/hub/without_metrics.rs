//! What replaces metrics without the feature `metrics`?

use crate::Hub;

/// Nothing.
#[derive(Default)]
pub(crate) struct HubMetrics;

impl Hub {
    pub(crate) const fn start_metrics(&self) {}
}
