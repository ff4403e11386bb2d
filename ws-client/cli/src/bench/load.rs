//! How is the load generated: which connection sends when, and what is counted?

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use ws_client::{Conn, Message};
use ws_core::PreparedMessage;

use crate::latency::LatencyHistogram;
use crate::print::error_chain;

/// The interval at which a connection with `--rate` sends its due messages.
const TICK: Duration = Duration::from_millis(5);

/// The number of counters. Connections are spread over them to reduce lock contention.
const COUNTERS: usize = 16;

/// The load on all connections, and its results.
pub(super) struct Load {
    message: PreparedMessage,
    rate: Option<f64>,
    pipeline: u32,
    counters: Vec<Mutex<Counter>>,
    failures: Mutex<BTreeMap<String, u64>>,
}

/// The results since the last [`Load::take_counters`].
pub(super) struct Counter {
    pub(super) sent: u64,
    /// From the scheduled time of a message to its echo.
    pub(super) times: LatencyHistogram,
}

/// The messages in flight: scheduled times, with the number of messages at each.
type InFlight = Mutex<VecDeque<(Instant, u32)>>;

impl Load {
    pub(super) fn new(message: Message, rate: Option<f64>, pipeline: u32) -> Result<Self> {
        let counter = || Ok(Mutex::new(Counter { sent: 0, times: LatencyHistogram::new()? }));
        Ok(Self {
            message: PreparedMessage::new(message),
            rate,
            pipeline,
            counters: (0..COUNTERS).map(|_| counter()).collect::<Result<_>>()?,
            failures: Mutex::default(),
        })
    }

    /// Starts the tasks of all connections.
    pub(super) fn start(self: &Arc<Self>, conns: &[Conn], began: Instant) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (number, conn) in conns.iter().enumerate() {
            let in_flight = Arc::new(InFlight::default());
            let (load, conn) = (Arc::clone(self), conn.clone());
            if let Some(rate) = self.rate {
                let (load, conn, in_flight) =
                    (Arc::clone(&load), conn.clone(), Arc::clone(&in_flight));
                let tick = TICK.max(Duration::from_secs_f64(1.0 / rate));
                // Spreads the ticks of the connections.
                let offset = tick.mul_f64(number as f64 / conns.len() as f64);
                tasks.spawn(async move {
                    load.send_at_rate(rate, tick, began + offset, number, &conn, &in_flight).await;
                });
            }
            tasks.spawn(async move {
                let why = load.receive(number, &conn, &in_flight).await;
                *load.failures.lock().entry(why).or_default() += 1;
            });
        }
        tasks
    }

    /// Returns the results, and resets them.
    pub(super) fn take_counters(&self) -> Vec<Counter> {
        let take = |counter: &Mutex<Counter>| {
            let fresh = Counter { sent: 0, times: LatencyHistogram::new().ok()? };
            Some(std::mem::replace(&mut *counter.lock(), fresh))
        };
        self.counters.iter().filter_map(take).collect()
    }

    /// The number of failed connections, by reason.
    pub(super) fn failures(&self) -> BTreeMap<String, u64> {
        self.failures.lock().clone()
    }

    /// Sends the due messages at each tick. Their scheduled time is that of the tick, even if the
    /// connection takes them later.
    async fn send_at_rate(
        &self,
        rate: f64,
        tick: Duration,
        first: Instant,
        number: usize,
        conn: &Conn,
        in_flight: &InFlight,
    ) {
        let mut ticks = interval_at(first, tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let each = rate * tick.as_secs_f64();
        let mut due = 0.0;
        loop {
            let when = ticks.tick().await;
            due += each;
            let count = due as u32;
            due -= f64::from(count);
            if count > 0 {
                in_flight.lock().push_back((when, count));
            }
            for _ in 0..count {
                // Prepared messages are written in batches. `receive` reports an error.
                if conn.write_prepared(&self.message).await.is_err() {
                    return;
                }
            }
            self.count(number, |counter| counter.sent += u64::from(count));
        }
    }

    /// Receives echoes, and without a rate sends a message for each. Returns why it failed.
    async fn receive(&self, number: usize, conn: &Conn, in_flight: &InFlight) -> String {
        let expected = self.message.message();
        if self.rate.is_none() {
            in_flight.lock().push_back((Instant::now(), self.pipeline));
            for _ in 0..self.pipeline {
                if let Err(error) = conn.write(expected).await {
                    return error_chain(&error);
                }
            }
            self.count(number, |counter| counter.sent += u64::from(self.pipeline));
        }
        loop {
            let message = match conn.read().await {
                Ok(message) => message,
                Err(error) => return error_chain(&error),
            };
            if message != *expected {
                conn.close_now();
                return "the server sent a message that is not an echo".to_owned();
            }
            let now = Instant::now();
            let Some(scheduled) = pop(in_flight) else {
                conn.close_now();
                return "the server sent more messages than it received".to_owned();
            };
            let is_pipelined = self.rate.is_none();
            self.count(number, |counter| {
                counter.times.add(now - scheduled);
                counter.sent += u64::from(is_pipelined);
            });
            if is_pipelined {
                in_flight.lock().push_back((now, 1));
                if let Err(error) = conn.write(message).await {
                    return error_chain(&error);
                }
            }
        }
    }

    fn count(&self, number: usize, count: impl FnOnce(&mut Counter)) {
        if let Some(counter) = self.counters.get(number % COUNTERS) {
            count(&mut counter.lock());
        }
    }
}

/// Removes the first message in flight, and returns its scheduled time.
fn pop(in_flight: &InFlight) -> Option<Instant> {
    let mut in_flight = in_flight.lock();
    let (when, count) = in_flight.front_mut()?;
    let when = *when;
    *count -= 1;
    if *count == 0 {
        in_flight.pop_front();
    }
    Some(when)
}
