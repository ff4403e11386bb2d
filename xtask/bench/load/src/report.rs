//! What does the report of a sample contain?

use std::io::Write as _;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::histogram::Percentiles;
use crate::meter::Used;

/// The counts and measurements of a server or client under load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The number of correct replies.
    pub messages: u64,
    /// The measured time.
    pub seconds: f64,
    /// The processor time of the measured process, in nanoseconds.
    pub cpu_ns: u64,
    /// The processor time of the load generator, in nanoseconds.
    pub load_cpu_ns: u64,
    /// The share of one processor that other processes used.
    pub foreign: f64,
    /// The latency from sending a message to its reply.
    pub latency: Option<Percentiles>,
    /// Payload bytes of a reply on the wire.
    pub wire_bytes: Option<f64>,
    /// The memory of idle connections.
    pub memory: Option<Memory>,
}

/// Server memory per connection, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// After opening.
    pub open: f64,
    /// After each connection has carried a message.
    pub used: f64,
}

impl Report {
    /// The report of a number of messages.
    pub fn of(messages: u64, used: &Used) -> Self {
        Self {
            messages,
            seconds: used.seconds,
            cpu_ns: used.measured_ns,
            load_cpu_ns: used.own_ns,
            foreign: used.foreign,
            ..Self::default()
        }
    }

    /// Prints the report as one line of JSON.
    ///
    /// # Errors
    ///
    /// The output is closed.
    pub fn print(&self) -> Result<()> {
        Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(self)?)?)
    }

    /// The processor time per message, in microseconds.
    pub fn cpu_micros(&self) -> f64 {
        self.cpu_ns as f64 / 1000.0 / self.messages.max(1) as f64
    }

    /// Messages per second.
    pub fn throughput(&self) -> f64 {
        self.messages as f64 / self.seconds.max(1e-9)
    }
}
