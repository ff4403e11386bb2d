//! What do metrics cost the server of this workspace?

use anyhow::{Context as _, Result};
use metrics_exporter_prometheus::PrometheusBuilder;

fn main() -> Result<()> {
    PrometheusBuilder::new().install_recorder().context("cannot install the recorder")?;
    ours::serve_streams(kit::Options::of_process(), ours::echo)
}
