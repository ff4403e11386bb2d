//! How is the load generated: which connection sends when, and what is counted?

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use ws_client::{Conn, Message};
use ws_core::PreparedMessage;

use crate::connect_options::describe;
use crate::latency::LatencyHistogram;
use crate::print::mask_secrets;

/// The interval at which a connection with `--rate` sends its due messages.
const TICK: Duration = Duration::from_millis(5);

/// The number of counters. Connections are spread over them to reduce lock contention.
const COUNTERS: usize = 16;

/// With `--fanout`, each message begins with its scheduled time: nanoseconds since the start, as
/// so many hexadecimal digits.
pub(super) const TAG: usize = 16;

/// Which connection sends when.
#[derive(Clone, Copy)]
pub(super) enum Pattern {
    /// Each one has this many messages in flight.
    Pipeline(u32),
    /// Each one sends this many messages per second.
    Rate(f64),
    /// The first one sends this many messages per second, and all receive them.
    Fanout(f64),
}

impl Pattern {
    /// What is counted.
    pub(super) const fn received(self) -> &'static str {
        match self {
            Self::Pipeline(_) | Self::Rate(_) => "echoed",
            Self::Fanout(_) => "received",
        }
    }
}

/// The load on all connections, and its results.
pub(super) struct Load {
    message: PreparedMessage,
    pattern: Pattern,
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
    pub(super) fn new(message: Message, pattern: Pattern) -> Result<Self> {
        let counters = (0..COUNTERS).map(|_| Ok(Mutex::new(Counter::new()?)));
        Ok(Self {
            message: PreparedMessage::new(message),
            pattern,
            counters: counters.collect::<Result<_>>()?,
            failures: Mutex::default(),
        })
    }

    /// Starts the tasks of all connections.
    pub(super) fn start(self: &Arc<Self>, conns: &[Conn], began: Instant) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (number, conn) in conns.iter().enumerate() {
            let (load, conn, in_flight) = (Arc::clone(self), conn.clone(), Mutex::default());
            let connection = Arc::new(ConnectionLoad { load, number, conn, in_flight, began });
            let rate = match self.pattern {
                Pattern::Rate(rate) => Some(rate),
                Pattern::Fanout(rate) => Some(rate).filter(|_| number == 0),
                Pattern::Pipeline(_) => None,
            };
            if let Some(rate) = rate {
                let tick = TICK.max(Duration::from_secs_f64(1.0 / rate));
                // Spreads the ticks of the connections.
                let first = began + tick.mul_f64(number as f64 / conns.len() as f64);
                let connection = Arc::clone(&connection);
                tasks.spawn(async move { connection.send_at_rate(rate, tick, first).await });
            }
            tasks.spawn(async move {
                let Err(error) = connection.receive().await;
                let why = mask_secrets(&describe(&*error));
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
    /// The time zero of tagged messages.
    began: Instant,
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
            let tagged = match self.load.pattern {
                Pattern::Fanout(_) => Some(PreparedMessage::new(self.tagged(when))),
                Pattern::Rate(_) | Pattern::Pipeline(_) => None,
            };
            if count > 0 && tagged.is_none() {
                self.in_flight.lock().push_back((when, count));
            }
            for _ in 0..count {
                // Prepared messages are written in batches. `receive` reports an error.
                let message = tagged.as_ref().unwrap_or(&self.load.message);
                if self.conn.write_prepared(message).await.is_err() {
                    return;
                }
            }
            self.count(|counter| counter.sent += u64::from(count));
        }
    }

    /// Receives echoes, and without a rate sends a message for each.
    async fn receive(&self) -> Result<Infallible> {
        if let Pattern::Pipeline(number) = self.load.pattern {
            return self.send_and_receive(number).await;
        }
        loop {
            let message = self.conn.read().await?;
            if let Pattern::Fanout(_) = self.load.pattern {
                let Some(scheduled) = self.scheduled(&message) else {
                    self.conn.close_now();
                    bail!("the server sent a message that is not one of the sender");
                };
                let took = Instant::now().saturating_duration_since(scheduled);
                self.count(|counter| counter.times.add(took));
                continue;
            }
            self.take_echo(&message)?;
        }
    }

    /// Sends so many messages, and another one for each echo. While a write waits for room, echoes are
    /// read: the server may wait for that.
    async fn send_and_receive(&self, number: u32) -> Result<Infallible> {
        let message = self.load.message.message();
        let schedule = |now, count| {
            self.in_flight.lock().push_back((now, count));
            self.count(|counter| counter.sent += u64::from(count));
        };
        schedule(Instant::now(), number);
        let mut due = number;
        loop {
            while due > 0 {
                let mut writing = pin!(self.conn.write(message));
                loop {
                    tokio::select! {
                        biased;
                        written = &mut writing => {
                            written?;
                            due -= 1;
                            break;
                        }
                        echo = self.conn.read() => {
                            schedule(self.take_echo(&echo?)?, 1);
                            due += 1;
                        }
                    }
                }
            }
            let echo = self.conn.read().await?;
            schedule(self.take_echo(&echo)?, 1);
            due += 1;
        }
    }

    /// Counts an echo. Returns the time of its arrival.
    fn take_echo(&self, message: &Message) -> Result<Instant> {
        if message != self.load.message.message() {
            self.conn.close_now();
            bail!("the server sent a message that is not an echo");
        }
        let now = Instant::now();
        let Some(scheduled) = self.pop() else {
            self.conn.close_now();
            bail!("the server sent more messages than it received");
        };
        self.count(|counter| counter.times.add(now - scheduled));
        Ok(now)
    }

    /// A message that begins with its scheduled time.
    fn tagged(&self, scheduled: Instant) -> Message {
        let nanos = scheduled.saturating_duration_since(self.began).as_nanos() as u64;
        let message = self.load.message.message();
        let mut bytes = format!("{nanos:0TAG$x}").into_bytes();
        bytes.extend(message.as_bytes().iter().skip(TAG));
        match String::from_utf8(bytes) {
            Ok(text) if message.is_text() => Message::text(text),
            Ok(text) => Message::binary(text.into_bytes()),
            Err(error) => Message::binary(error.into_bytes()),
        }
    }

    /// The scheduled time of such a message.
    fn scheduled(&self, message: &Message) -> Option<Instant> {
        let (tag, rest) = message.as_bytes().split_at_checked(TAG)?;
        let sent = self.load.message.message().as_bytes().get(TAG..)?;
        let nanos = u64::from_str_radix(std::str::from_utf8(tag).ok()?, 16).ok()?;
        (rest == sent).then(|| self.began.checked_add(Duration::from_nanos(nanos)))?
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
