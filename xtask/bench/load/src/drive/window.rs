//! When does the measured part of a load begin, and when does it end?

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::meter::Moment;
use crate::report::Report;

/// How long a load lasts.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// A warm-up, and the measured time.
    Time(Duration, Duration),
    /// A number of messages.
    Messages(u64),
}

/// The measured part of a load.
#[derive(Debug)]
pub struct Window {
    pid: Option<i32>,
    extent: Extent,
    began: Instant,
    opened: Option<(Moment, Count)>,
}

/// The counts so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Messages that came back.
    pub messages: u64,
    /// The bytes of their payloads.
    pub wire_bytes: u64,
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Go on.
    Go,
    /// Go on, and forget the samples of the warm-up.
    Begin,
    /// The load is over.
    End(Report),
}

impl Window {
    /// The measured part of a load on the process `pid`.
    pub fn new(pid: Option<i32>, extent: Extent) -> Self {
        Self { pid, extent, began: Instant::now(), opened: None }
    }

    /// Looks at the clock and the count.
    pub fn look(&mut self, now: Instant, count: Count) -> Result<Next> {
        let elapsed = now.duration_since(self.began);
        let (begins, ends) = match self.extent {
            Extent::Time(warm_up, time) => (elapsed >= warm_up, elapsed >= warm_up + time),
            Extent::Messages(messages) => (true, count.messages >= messages),
        };
        match &self.opened {
            None if begins => {
                self.opened = Some((Moment::now(self.pid)?, count));
                Ok(Next::Begin)
            }
            Some((opened, before)) if ends => {
                let used = Moment::now(self.pid)?.since(opened);
                let messages = count.messages - before.messages;
                let wire_bytes = count.wire_bytes - before.wire_bytes;
                Ok(Next::End(Report {
                    wire_bytes: Some(wire_bytes as f64 / messages.max(1) as f64),
                    ..Report::of(messages, &used)
                }))
            }
            _ => Ok(Next::Go),
        }
    }
}
