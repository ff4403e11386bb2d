//! What does a sample tell?

use serde::{Deserialize, Serialize};

use crate::histogram::Percentiles;

/// What was counted and measured while a server, or a client, was under load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How many messages came back, right to the last bit.
    pub messages: u64,
    /// How long that took.
    pub seconds: f64,
    /// The processor time of the measured process, in nanoseconds.
    pub cpu_ns: u64,
    /// The processor time of the generator, in nanoseconds.
    pub load_cpu_ns: u64,
    /// How much of one processor others used meanwhile.
    pub foreign: f64,
    /// From sending a message to having its answer.
    pub latency: Option<Percentiles>,
    /// How many payload bytes a message took on its way back.
    pub wire_bytes: Option<f64>,
    /// What idle connections hold.
    pub memory: Option<Memory>,
}

/// How many bytes each connection adds to what the server holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When it has just been opened.
    pub open: f64,
    /// When each has carried a message, and is idle again.
    pub used: f64,
}

impl Report {
    /// The processor time of one message, in microseconds.
    pub fn cpu_micros(&self) -> f64 {
        self.cpu_ns as f64 / 1000.0 / self.messages.max(1) as f64
    }

    /// The processor time that the generator took for one message, in microseconds.
    pub fn load_micros(&self) -> f64 {
        self.load_cpu_ns as f64 / 1000.0 / self.messages.max(1) as f64
    }

    /// Messages in a second.
    pub fn throughput(&self) -> f64 {
        self.messages as f64 / self.seconds.max(1e-9)
    }
}
