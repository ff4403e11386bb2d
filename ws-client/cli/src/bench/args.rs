//! Which options does `ws bench` have?

use std::time::Duration;

use super::load::Pattern;
use crate::connect_options::{ConnectOptions, seconds};

/// Measures the throughput and the latency of an echo server with many connections.
///
/// Without --rate, each connection keeps --pipeline messages in flight, and sends the next one
/// for each echo: the maximum load. With --rate, messages are sent at that rate, whether echoes
/// arrive or not. Latencies are then measured from the scheduled time of a message, so queueing
/// delays are included.
///
/// Without a URL it measures an echo server in the same process.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct BenchArgs {
    /// The URL: ws://… or wss://…; ws:// is the default
    pub(super) url: Option<String>,
    /// The number of connections
    #[arg(short = 'C', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections: u32,
    /// Measures how long a message of one connection takes to reach all of them. The server has to
    /// send each message to all connections, with or without its sender. --rate is the rate of the
    /// sender
    #[arg(long, conflicts_with_all = ["pipeline", "payload"])]
    pub(super) fanout: bool,
    /// The time in which the connections are opened, one after another
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(super) ramp_up: Duration,
    /// The messages per second of each connection, at most 10000000. Default: no rate; with
    /// --fanout: 10
    #[arg(short, long, value_name = "N", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// The messages in flight of each connection
    #[arg(short, long, value_name = "N", default_value_t = 1, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) pipeline: u32,
    /// The length of a message
    #[arg(long, value_name = "BYTES", default_value_t = 128, conflicts_with = "payload")]
    pub(super) size: usize,
    /// The text of the messages. Default: the digits 0 to f, repeated
    #[arg(long, value_name = "TEXT")]
    pub(super) payload: Option<String>,
    /// Sends binary messages
    #[arg(short, long)]
    pub(super) binary: bool,
    /// The duration of the measurement
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(super) duration: Duration,
    /// The duration of the load before the measurement, which is not counted
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(super) warmup: Duration,
    /// Exits with 1 if the 99th percentile of the latencies exceeds this
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) max_p99: Option<Duration>,
    /// Exits with 1 if fewer messages per second come back, on all connections together
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(super) min_rate: Option<f64>,
    /// Does not print the progress
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Prints the result as one JSON object; times are in seconds
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) options: ConnectOptions,
}

const HELP: &str = "\
Examples:
  ws bench                                   # the maximum of this machine
  ws bench localhost:9000 --connections 100 --pipeline 16
  ws bench --connections 100 --rate 10000 --payload 'hello world!!13212312!'
  ws bench wss://example.com/echo --connections 1000 --rate 1 --duration 60 --ramp-up 10
  ws bench wss://example.com/room --fanout --connections 500 --rate 20
  ws bench localhost:9000 --min-rate 50000 --max-p99 0.005

Exits with 1 if a connection is lost, no echo arrives, a message is not an echo, or a
threshold is missed.";

impl BenchArgs {
    /// Which connection sends when.
    pub(super) fn pattern(&self) -> Pattern {
        match (self.fanout, self.rate) {
            (true, rate) => Pattern::Fanout(rate.unwrap_or(10.0)),
            (false, Some(rate)) => Pattern::Rate(rate),
            (false, None) => Pattern::Pipeline(self.pipeline),
        }
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e7 => Ok(rate),
        _ => Err("write the messages per second, more than 0 and at most 10000000"),
    }
}
