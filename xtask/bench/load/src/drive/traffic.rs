//! How does the load generator send and receive messages on many connections?

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::drive::carrier::Connector;
use crate::drive::conn::{Conn, TIMEOUT};
use crate::drive::window::{Count, Extent, Next, Window};
use crate::histogram::Histogram;
use crate::report::Report;
use crate::scenario::{Scenario, Shape};
use crate::script::Script;

/// The load of a scenario on a server.
#[derive(Debug)]
pub struct Traffic {
    scenario: Scenario,
    epoll: Epoll,
    conns: Vec<Conn>,
    buffer: Vec<u8>,
    histogram: Histogram,
    count: Count,
    /// How many messages each connection may send in all.
    quota: u64,
    /// The start of the schedule, for scenarios with a rate.
    epoch: Instant,
    /// In a fan-out, the number of messages that all subscribers have received, and how many
    /// subscribers have received each later message.
    received_by_all: u64,
    received: VecDeque<usize>,
}

/// How often a server sends a message back in a burst.
const BURST: u64 = 4000;

/// The interval between sends in scenarios with a rate.
const TICK: Duration = Duration::from_millis(2);

impl Traffic {
    /// Opens the connections.
    pub fn open(server: &Connector, scenario: Scenario, raw: bool) -> Result<Self> {
        let fanout = scenario.shape == Shape::Fanout;
        let shared = fanout || scenario.size > 1024;
        let first = Rc::new(match fanout {
            true => Script::numbered(&scenario, 251)?,
            false => Script::new(&scenario, 1)?,
        });
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut conns = Vec::new();
        // In a fan-out, the last connection is the publisher, and the others are subscribers.
        for id in 0..scenario.conns + usize::from(fanout) {
            let script = match shared {
                true => Rc::clone(&first),
                false => Rc::new(Script::new(&scenario, id as u64 + 1)?),
            };
            let conn = Conn::open(server, script, raw, scenario.deflate)?;
            conn.go()?;
            epoll.add(conn.stream.tcp(), EpollEvent::new(EpollFlags::EPOLLIN, id as u64))?;
            conns.push(conn);
        }
        if fanout {
            // A server may register a subscriber after it has answered the handshake.
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(Self {
            scenario,
            epoll,
            conns,
            buffer: vec![0; 256 * 1024],
            histogram: Histogram::new()?,
            count: Count::default(),
            quota: u64::MAX,
            epoch: Instant::now(),
            received_by_all: 0,
            received: VecDeque::new(),
        })
    }

    /// Sends and receives until the load ends.
    pub fn run(mut self, pid: Option<i32>, extent: Extent) -> Result<Report> {
        let extent = match extent {
            Extent::Messages(messages) => {
                // Each connection sends the same number.
                let conns = self.conns.len() as u64;
                self.quota = messages.div_ceil(conns);
                Extent::Messages(self.quota * conns)
            }
            Extent::Time(..) => extent,
        };
        let mut window = Window::new(pid, extent);
        self.epoch = Instant::now();
        self.begin()?;
        let mut events = vec![EpollEvent::empty(); 256];
        let mut last = (Instant::now(), 0);
        loop {
            let by_schedule = matches!(self.scenario.shape, Shape::Rate(_));
            // Polling is more precise than timeouts of the kernel.
            let timeout = if by_schedule { EpollTimeout::ZERO } else { EpollTimeout::from(50u8) };
            let ready = self.epoll.wait(&mut events, timeout)?;
            for event in &events[..ready] {
                self.serve(event.data() as usize, event.events())?;
            }
            let now = Instant::now();
            self.tick(now)?;
            if self.count.messages > last.1 {
                last = (now, self.count.messages);
            }
            ensure!(now - last.0 < TIMEOUT, "no message came back for {} s", TIMEOUT.as_secs());
            match window.look(now, self.count)? {
                Next::Go => {}
                Next::Begin => self.histogram.clear(),
                Next::End(mut report) => {
                    report.latency = self.histogram.percentiles();
                    return Ok(report);
                }
            }
        }
    }

    /// Sends the first messages.
    fn begin(&mut self) -> Result<()> {
        let now = Instant::now();
        let in_flight = self.scenario.in_flight as u64;
        match self.scenario.shape {
            Shape::Rate(_) => Ok(()),
            Shape::Fanout => self.grant(self.conns.len() - 1, in_flight, now),
            _ => (0..self.conns.len()).try_for_each(|id| self.grant(id, in_flight, now)),
        }
    }

    fn serve(&mut self, id: usize, ready: EpollFlags) -> Result<()> {
        if ready.contains(EpollFlags::EPOLLOUT) {
            self.send(id)?;
        }
        if !ready.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return Ok(());
        }
        let conn = &mut self.conns[id];
        let (before, wire_before) = (conn.checker.messages, conn.checker.wire_bytes);
        let done = conn.receive(&mut self.buffer)?;
        self.count.wire_bytes += conn.checker.wire_bytes - wire_before;
        if done == 0 {
            return Ok(());
        }
        self.count.messages += done;
        let now = Instant::now();
        match self.scenario.shape {
            Shape::Rate(_) => {
                conn.note(done, now, &mut self.histogram);
                Ok(())
            }
            Shape::Fanout => self.delivered(before, done, now),
            Shape::Burst => {
                let bursts = (before + done) / BURST - before / BURST;
                conn.note(bursts, now, &mut self.histogram);
                self.grant(id, bursts, now)
            }
            Shape::Echo | Shape::Idle | Shape::Client | Shape::Upgrades => {
                conn.note(done, now, &mut self.histogram);
                self.grant(id, done, now)
            }
        }
    }

    /// Lets a connection send more messages, up to its quota, and sends.
    fn grant(&mut self, id: usize, count: u64, now: Instant) -> Result<()> {
        let conn = &mut self.conns[id];
        let count = count.min(self.quota - conn.granted.min(self.quota));
        if count == 0 {
            return Ok(());
        }
        conn.grant(count, now);
        self.send(id)
    }

    /// Records that a subscriber has received `count` messages from number `from` on, and lets the
    /// publisher send one more for each message that all have received.
    fn delivered(&mut self, from: u64, count: u64, now: Instant) -> Result<()> {
        let subscribers = self.conns.len() - 1;
        for number in from..from + count {
            let at = (number - self.received_by_all) as usize;
            if at >= self.received.len() {
                self.received.resize(at + 1, 0);
            }
            self.received[at] += 1;
        }
        let mut done = 0;
        while self.received.front() == Some(&subscribers) {
            self.received.pop_front();
            done += 1;
        }
        self.received_by_all += done;
        self.conns[subscribers].note(done, now, &mut self.histogram);
        self.grant(subscribers, done, now)
    }

    /// Sends the messages that are due by the schedule.
    fn tick(&mut self, now: Instant) -> Result<()> {
        let Shape::Rate(rate) = self.scenario.shape else { return Ok(()) };
        let each = u64::from(rate) * TICK.as_micros() as u64 / 1_000_000;
        let count = self.conns.len() as u64;
        let elapsed = now.duration_since(self.epoch).as_nanos() as u64;
        let tick = TICK.as_nanos() as u64;
        for id in 0..self.conns.len() {
            // Connections are spread over an interval.
            let Some(elapsed) = elapsed.checked_sub(tick * id as u64 / count) else { break };
            let due = (elapsed / tick + 1) * each;
            let owed = due - self.conns[id].granted;
            // The backlog of a slow server is bounded.
            let under_way = self.conns[id].granted - self.conns[id].checker.messages;
            if owed > 0 && under_way < BACKLOG {
                self.grant(id, owed.min(BACKLOG), now)?;
            }
        }
        Ok(())
    }

    /// Sends, and waits for writability when the socket buffer is full.
    fn send(&mut self, id: usize) -> Result<()> {
        let conn = &mut self.conns[id];
        let waiting = !conn.send()?;
        if waiting != conn.waiting {
            conn.waiting = waiting;
            let mut wish = EpollFlags::EPOLLIN;
            wish.set(EpollFlags::EPOLLOUT, waiting);
            self.epoll.modify(conn.stream.tcp(), &mut EpollEvent::new(wish, id as u64))?;
        }
        Ok(())
    }
}

/// The number of messages in flight on a connection from which no more are sent.
const BACKLOG: u64 = 2000;
