//! Which arguments do the load generator and every measured client take?

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// The other end, the scenario and the measured time.
#[derive(Clone, Debug, Parser)]
pub struct LoadOptions {
    /// Address of the server.
    #[arg(long)]
    pub connect: SocketAddr,
    /// Name of the scenario.
    #[arg(long)]
    pub scenario: String,
    /// The certificate of the server, as DER, for scenarios over TLS.
    #[arg(long)]
    pub certificate: Option<PathBuf>,
    /// Process id of the server, to separate its processor time from that of other processes.
    #[arg(long)]
    pub pid: Option<i32>,
    /// Measured time in seconds.
    #[arg(long, default_value = "1.0", value_parser = seconds)]
    pub seconds: Duration,
    /// Warm-up in seconds before that.
    #[arg(long, default_value = "0.3", value_parser = seconds)]
    pub warm_up: Duration,
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseFloatError> {
    text.parse().map(|seconds: f64| Duration::from_secs_f64(seconds.max(0.0)))
}
