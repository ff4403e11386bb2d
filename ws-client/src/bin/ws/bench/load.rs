//! How is a server kept busy?

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use ws_client::{Conn, Message};
use ws_core::PreparedMessage;

use crate::exit;
use crate::percentiles::Times;

/// How often a connection with a rate sends what is due then.
const TICK: Duration = Duration::from_millis(5);

/// Over how many the counting is spread, so that threads do not wait for each other.
const COUNTERS: usize = 16;

/// What is sent, and what has come back.
pub(super) struct Load {
    message: PreparedMessage,
    rate: Option<f64>,
    pipeline: u32,
    counters: Vec<Mutex<Counter>>,
    failures: Mutex<BTreeMap<String, u64>>,
}

/// What happened since somebody looked.
pub(super) struct Counter {
    pub(super) sent: u64,
    /// From when a message was due to when it was back.
    pub(super) times: Times,
}

/// Messages that are under way: when they were due, and how many.
type Pending = Mutex<VecDeque<(Instant, u32)>>;

impl Load {
    pub(super) fn new(message: Message, rate: Option<f64>, pipeline: u32) -> Result<Self> {
        let counter = || Ok(Mutex::new(Counter { sent: 0, times: Times::new()? }));
        Ok(Self {
            message: PreparedMessage::new(message),
            rate,
            pipeline,
            counters: (0..COUNTERS).map(|_| counter()).collect::<Result<_>>()?,
            failures: Mutex::default(),
        })
    }

    /// Begins to send on all connections.
    pub(super) fn start(self: &Arc<Self>, conns: &[Conn], began: Instant) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (number, conn) in conns.iter().enumerate() {
            let pending = Arc::new(Pending::default());
            let (load, conn) = (Arc::clone(self), conn.clone());
            if let Some(rate) = self.rate {
                let (load, conn, pending) = (Arc::clone(&load), conn.clone(), Arc::clone(&pending));
                let tick = TICK.max(Duration::from_secs_f64(1.0 / rate));
                // Not all at once.
                let offset = tick.mul_f64(number as f64 / conns.len() as f64);
                tasks.spawn(async move {
                    load.send_at(rate, tick, began + offset, number, &conn, &pending).await;
                });
            }
            tasks.spawn(async move {
                let why = load.receive(number, &conn, &pending).await;
                *load.failures.lock().entry(why).or_default() += 1;
            });
        }
        tasks
    }

    /// What has happened since the last look.
    pub(super) fn look(&self) -> Vec<Counter> {
        let take = |counter: &Mutex<Counter>| {
            let fresh = Counter { sent: 0, times: Times::new().ok()? };
            Some(std::mem::replace(&mut *counter.lock(), fresh))
        };
        self.counters.iter().filter_map(take).collect()
    }

    /// Why connections were given up, and how many.
    pub(super) fn failures(&self) -> BTreeMap<String, u64> {
        self.failures.lock().clone()
    }

    /// Sends what is due at each tick. When the connection takes it late, it was due then
    /// nevertheless.
    async fn send_at(
        &self,
        rate: f64,
        tick: Duration,
        first: Instant,
        number: usize,
        conn: &Conn,
        pending: &Pending,
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
                pending.lock().push_back((when, count));
            }
            for _ in 0..count {
                // Prepared ones leave together. Why it fails is told to `receive`.
                if conn.write_prepared(&self.message).await.is_err() {
                    return;
                }
            }
            self.count(number, |counter| counter.sent += u64::from(count));
        }
    }

    /// Takes echoes, and without a rate sends another message for each. Tells why it ends.
    async fn receive(&self, number: usize, conn: &Conn, pending: &Pending) -> String {
        let expected = self.message.message();
        if self.rate.is_none() {
            pending.lock().push_back((Instant::now(), self.pipeline));
            for _ in 0..self.pipeline {
                if let Err(error) = conn.write(expected).await {
                    return exit::chain(&error);
                }
            }
            self.count(number, |counter| counter.sent += u64::from(self.pipeline));
        }
        loop {
            let message = match conn.read().await {
                Ok(message) => message,
                Err(error) => return exit::chain(&error),
            };
            if message != *expected {
                conn.close_now();
                return "the server sent something else than an echo".to_owned();
            }
            let now = Instant::now();
            let Some(due) = pop(pending) else {
                conn.close_now();
                return "the server sent more than it was sent".to_owned();
            };
            let again = self.rate.is_none();
            self.count(number, |counter| {
                counter.times.add(now - due);
                counter.sent += u64::from(again);
            });
            if again {
                pending.lock().push_back((now, 1));
                if let Err(error) = conn.write(message).await {
                    return exit::chain(&error);
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

/// When the first of the messages under way was due.
fn pop(pending: &Pending) -> Option<Instant> {
    let mut pending = pending.lock();
    let (when, count) = pending.front_mut()?;
    let when = *when;
    *count -= 1;
    if *count == 0 {
        pending.pop_front();
    }
    Some(when)
}
