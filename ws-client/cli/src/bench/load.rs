//! How is the load generated: which connection sends when, and what is counted?

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
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

/// The results of some connections, or of all.
pub(super) struct Counter {
    pub(super) sent: u64,
    /// From the scheduled time of a message to its echo.
    pub(super) times: LatencyHistogram,
}

impl Counter {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { sent: 0, times: LatencyHistogram::new()? })
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.times.merge(&other.times);
    }
}

impl Load {
    pub(super) fn new(message: Message, rate: Option<f64>, pipeline: u32) -> Result<Self> {
        let counters = (0..COUNTERS).map(|_| Ok(Mutex::new(Counter::new()?)));
        Ok(Self {
            message: PreparedMessage::new(message),
            rate,
            pipeline,
            counters: counters.collect::<Result<_>>()?,
            failures: Mutex::default(),
        })
    }

    /// Starts the tasks of all connections.
    pub(super) fn start(self: &Arc<Self>, conns: &[Conn], began: Instant) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (number, conn) in conns.iter().enumerate() {
            let (load, conn, in_flight) = (Arc::clone(self), conn.clone(), Mutex::default());
            let connection = Arc::new(ConnectionLoad { load, number, conn, in_flight });
            if let Some(rate) = self.rate {
                let tick = TICK.max(Duration::from_secs_f64(1.0 / rate));
                // Spreads the ticks of the connections.
                let first = began + tick.mul_f64(number as f64 / conns.len() as f64);
                let connection = Arc::clone(&connection);
                tasks.spawn(async move { connection.send_at_rate(rate, tick, first).await });
            }
            tasks.spawn(async move {
                let Err(error) = connection.receive().await;
                let why = error_chain(&*error);
                *connection.load.failures.lock().entry(why).or_default() += 1;
            });
        }
        tasks
    }

    /// Returns the results since the last call.
    pub(super) fn take_results(&self) -> Result<Counter> {
        let mut results = Counter::new()?;
        for counter in &self.counters {
            let fresh = Counter::new()?;
            results.merge(&mem::replace(&mut *counter.lock(), fresh));
        }
        Ok(results)
    }

    /// The number of failed connections, by reason.
    pub(super) fn failures(&self) -> BTreeMap<String, u64> {
        self.failures.lock().clone()
    }
}

/// The load on one connection.
struct ConnectionLoad {
    load: Arc<Load>,
    number: usize,
    conn: Conn,
    /// The scheduled times of the messages in flight, with the number of messages at each.
    in_flight: Mutex<VecDeque<(Instant, u32)>>,
}

impl ConnectionLoad {
    /// Sends the due messages at each tick. Their scheduled time is that of the tick, even if the
    /// connection takes them later.
    async fn send_at_rate(&self, rate: f64, tick: Duration, first: Instant) {
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
                self.in_flight.lock().push_back((when, count));
            }
            for _ in 0..count {
                // Prepared messages are written in batches. `receive` reports an error.
                if self.conn.write_prepared(&self.load.message).await.is_err() {
                    return;
                }
            }
            self.count(|counter| counter.sent += u64::from(count));
        }
    }

    /// Receives echoes, and without a rate sends a message for each.
    async fn receive(&self) -> Result<Infallible> {
        let expected = self.load.message.message();
        let is_pipelined = self.load.rate.is_none();
        if is_pipelined {
            self.in_flight.lock().push_back((Instant::now(), self.load.pipeline));
            for _ in 0..self.load.pipeline {
                self.conn.write(expected).await?;
            }
            self.count(|counter| counter.sent += u64::from(self.load.pipeline));
        }
        loop {
            let message = self.conn.read().await?;
            if message != *expected {
                self.conn.close_now();
                bail!("the server sent a message that is not an echo");
            }
            let now = Instant::now();
            let Some(scheduled) = self.pop() else {
                self.conn.close_now();
                bail!("the server sent more messages than it received");
            };
            self.count(|counter| {
                counter.times.add(now - scheduled);
                counter.sent += u64::from(is_pipelined);
            });
            if is_pipelined {
                self.in_flight.lock().push_back((now, 1));
                self.conn.write(message).await?;
            }
        }
    }

    /// Removes the first message in flight, and returns its scheduled time.
    fn pop(&self) -> Option<Instant> {
        let mut in_flight = self.in_flight.lock();
        let (when, count) = in_flight.front_mut()?;
        let when = *when;
        *count -= 1;
        if *count == 0 {
            in_flight.pop_front();
        }
        Some(when)
    }

    fn count(&self, count: impl FnOnce(&mut Counter)) {
        if let Some(counter) = self.load.counters.get(self.number % COUNTERS) {
            count(&mut counter.lock());
        }
    }
}
