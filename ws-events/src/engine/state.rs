//! Which states does a session have, and what changes them?
//!
//! ```text
//! Polling ──▶ Upgrading ──▶ WebSocket ──▶ Closed
//!    ▲   ◀────────┘ failed                  ▲
//!    └───────────────────────────────────────┘
//! ```
//!
//! All functions here are synchronous and run under the lock of the session. They collect the
//! wakers of the futures that can go on, which are woken after the lock is released.

use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;
use ws_core::{Conn, PreparedMessage};

use super::config::EngineConfig;
use super::end::EngineEnd;
use super::inbox::EngineInbox;
use super::payload::PayloadWriter;

/// No message is added to a body that has this many bytes.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// Packets of the server.
pub(super) const CLOSE: &str = "1";
pub(super) const PING: &str = "2";
pub(super) const PROBED: &str = "3probe";
pub(super) const NOOP: &str = "6";

/// What carries the messages of a session.
#[derive(Debug)]
pub(super) enum Transport {
    /// GET and POST.
    Polling,
    /// GET and POST, while a WebSocket is tested.
    Upgrading,
    WebSocket(Conn),
    Closed(Closed),
}

/// The GET of a session that polls.
#[derive(Debug, Default)]
pub(super) enum Get {
    /// There is none: the client is between two of them.
    #[default]
    Absent,
    /// It has no answer yet.
    Waiting(Option<Waker>),
    /// It has an answer, and has to fetch it.
    Answered(Bytes),
}

#[derive(Debug)]
pub(super) struct Closed {
    pub(super) end: EngineEnd,
    pub(super) rest: Rest,
}

/// What is left of a session that has ended.
#[derive(Debug)]
pub(super) enum Rest {
    Nothing,
    /// The last packet for the client, which the next GET fetches.
    Farewell(&'static str),
    /// A WebSocket that has read messages ahead, for which the inbox had no room.
    Unread(Conn),
}

/// When the next ping is due, or its answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heartbeat {
    /// The client has answered.
    Idle { ping_at: Instant },
    /// A ping is due or sent. `heard` is how many bytes the WebSocket had received by then.
    Pinged { until: Instant, heard: u64 },
}

impl Heartbeat {
    pub(super) const fn deadline(self) -> Instant {
        match self {
            Self::Idle { ping_at } => ping_at,
            Self::Pinged { until, .. } => until,
        }
    }
}

/// The futures to wake after the lock is released.
pub(super) type Wakers = SmallVec<[Waker; 4]>;

/// What a session is, under its lock.
#[derive(Debug)]
pub(super) struct EngineState {
    pub(super) transport: Transport,
    /// The GET in progress. One that has an answer outlives the state in which it began.
    pub(super) get: Get,
    pub(super) heartbeat: Heartbeat,
    /// Whether a ping waits for a GET.
    pub(super) ping_due: bool,
    /// Whether a POST waits for room in the inbox.
    pub(super) posting: bool,
    pub(super) inbox: EngineInbox,
    /// When the inbox had no more room for messages of the WebSocket, or was full and gave one to the
    /// application.
    pub(super) full_at: Instant,
    /// Waits for a message: the application.
    pub(super) reader: Option<Waker>,
    /// Wait for a GET: the writers of the application.
    pub(super) writers: SmallVec<[Waker; 1]>,
    /// Waits for room in the inbox: the POST.
    pub(super) poster: Option<Waker>,
    /// Waits for a WebSocket, room in the inbox, or the end: the task of the session.
    pub(super) driver: Option<Waker>,
}

impl EngineState {
    pub(super) fn new(transport: Transport, ping_at: Instant) -> Self {
        Self {
            transport,
            get: Get::Absent,
            heartbeat: Heartbeat::Idle { ping_at },
            ping_due: false,
            posting: false,
            inbox: EngineInbox::default(),
            full_at: ping_at,
            reader: None,
            writers: SmallVec::new(),
            poster: None,
            driver: None,
        }
    }

    /// Begins a GET. It may be answered at once.
    pub(super) fn begin_get(&mut self, wakers: &mut Wakers) -> BeginGet {
        match &mut self.transport {
            Transport::Polling | Transport::Upgrading => {
                if !matches!(self.get, Get::Absent) {
                    return BeginGet::Overlaps;
                }
                self.get = match std::mem::take(&mut self.ping_due) {
                    true => Get::Answered(Bytes::from_static(PING.as_bytes())),
                    false => {
                        wakers.extend(self.writers.drain(..));
                        Get::Waiting(None)
                    }
                };
                BeginGet::Begun
            }
            Transport::Closed(Closed { rest, .. }) => match *rest {
                Rest::Farewell(packet) => {
                    *rest = Rest::Nothing;
                    BeginGet::Farewell(packet)
                }
                Rest::Nothing | Rest::Unread(_) => BeginGet::NotPolling,
            },
            Transport::WebSocket(_) => BeginGet::NotPolling,
        }
    }

    /// Answers the GET that waits, if there is one.
    pub(super) fn answer_get(&mut self, body: Bytes, wakers: &mut Wakers) -> bool {
        let Get::Waiting(waker) = &mut self.get else { return false };
        wakers.extend(waker.take());
        self.get = Get::Answered(body);
        true
    }

    /// Whether a batch can be written to a GET now.
    pub(super) const fn has_waiting_get(&self) -> bool {
        matches!(self.get, Get::Waiting(_))
    }

    /// Answers the GET that waits with messages of `take`. Returns their number.
    pub(super) fn write_to_get<I: IntoIterator<Item = PreparedMessage>>(
        &mut self,
        take: &mut impl FnMut(usize) -> I,
        wakers: &mut Wakers,
    ) -> usize {
        let mut body = PayloadWriter::default();
        let mut messages = 0;
        while body.len() < MAX_BODY {
            let before = messages;
            for prepared in take(MAX_BODY - body.len()) {
                prepared.messages().for_each(|message| body.push(message));
                messages += 1;
            }
            if messages == before {
                break;
            }
        }
        if messages > 0 {
            self.answer_get(body.finish(), wakers);
        }
        messages
    }

    /// The client has sent something, so it is alive.
    pub(super) fn note_packet(&mut self, config: &EngineConfig, is_pong: bool, now: Instant) {
        self.heartbeat = match self.heartbeat {
            Heartbeat::Pinged { .. } if is_pong => {
                Heartbeat::Idle { ping_at: after(now, config.ping_interval) }
            }
            Heartbeat::Pinged { heard, .. } => {
                Heartbeat::Pinged { until: after(now, config.ping_timeout), heard }
            }
            idle @ Heartbeat::Idle { .. } => idle,
        };
    }

    /// Carries out a deadline that has passed. The WebSocket has received `bytes` by now.
    pub(super) fn on_deadline(
        &mut self,
        config: &EngineConfig,
        now: Instant,
        bytes: u64,
        wakers: &mut Wakers,
    ) -> Due {
        if self.heartbeat.deadline() > now {
            return Due::Nothing;
        }
        let until = after(now, config.ping_timeout);
        match self.heartbeat {
            // Its pong may be in the POST, which has a deadline of its own.
            Heartbeat::Pinged { heard, .. } if self.posting => {
                self.heartbeat = Heartbeat::Pinged { until, heard };
                Due::Nothing
            }
            // Its pong may be behind the messages that the application has yet to receive. What the
            // WebSocket reads ahead is a sign of life. If it cannot read, the application has the same
            // time as with a POST.
            Heartbeat::Pinged { heard, .. } if !self.inbox.has_room() => {
                if bytes != heard {
                    return self.ping(until, bytes, wakers);
                }
                let limit = config.ping_interval.saturating_add(config.ping_timeout);
                let until = after(self.full_at, limit);
                if until <= now {
                    return Due::Timeout;
                }
                self.heartbeat = Heartbeat::Pinged { until, heard };
                Due::Nothing
            }
            Heartbeat::Pinged { .. } => Due::Timeout,
            Heartbeat::Idle { .. } => self.ping(until, bytes, wakers),
        }
    }

    /// A ping is due.
    fn ping(&mut self, until: Instant, heard: u64, wakers: &mut Wakers) -> Due {
        self.heartbeat = Heartbeat::Pinged { until, heard };
        if let Transport::WebSocket(conn) = &self.transport {
            return Due::Ping(conn.clone());
        }
        self.ping_due = !self.answer_get(Bytes::from_static(PING.as_bytes()), wakers);
        Due::Nothing
    }

    /// Begins to test a WebSocket. Returns whether that is possible.
    pub(super) fn begin_upgrade(&mut self) -> bool {
        let is_polling = matches!(self.transport, Transport::Polling);
        if is_polling {
            self.transport = Transport::Upgrading;
        }
        is_polling
    }

    /// The test of a WebSocket has failed, or was given up.
    pub(super) fn cancel_upgrade(&mut self) {
        if matches!(self.transport, Transport::Upgrading) {
            self.transport = Transport::Polling;
        }
    }

    /// Changes to the WebSocket that was tested. Returns whether a ping is due there.
    pub(super) fn switch(&mut self, conn: &Conn, wakers: &mut Wakers) -> Option<bool> {
        if !matches!(self.transport, Transport::Upgrading) {
            return None;
        }
        self.answer_get(Bytes::from_static(NOOP.as_bytes()), wakers);
        self.transport = Transport::WebSocket(conn.clone());
        wakers.extend(self.driver.take());
        wakers.extend(self.writers.drain(..));
        Some(std::mem::take(&mut self.ping_due))
    }

    /// Ends the session, unless it has ended; then it returns `None`. The GET that waits, or else
    /// the next one, is answered with `farewell`. Returns the WebSocket.
    pub(super) fn end(
        &mut self,
        end: EngineEnd,
        farewell: Option<&'static str>,
        wakers: &mut Wakers,
    ) -> Option<Option<Conn>> {
        if matches!(self.transport, Transport::Closed(_)) {
            return None;
        }
        let last = Bytes::from_static(farewell.unwrap_or(CLOSE).as_bytes());
        let is_told = self.answer_get(last, wakers);
        let rest = match (&self.transport, farewell) {
            (Transport::WebSocket(_), _) | (_, None) => Rest::Nothing,
            (_, Some(_)) if is_told => Rest::Nothing,
            (_, Some(packet)) => Rest::Farewell(packet),
        };
        let closed = Transport::Closed(Closed { end, rest });
        let before = std::mem::replace(&mut self.transport, closed);
        for waker in [&mut self.reader, &mut self.poster, &mut self.driver] {
            wakers.extend(waker.take());
        }
        wakers.extend(self.writers.drain(..));
        match before {
            Transport::WebSocket(conn) => Some(Some(conn)),
            Transport::Polling | Transport::Upgrading | Transport::Closed(_) => Some(None),
        }
    }
}

impl EngineState {
    /// Ends a session whose WebSocket has ended, and has read messages ahead.
    pub(super) fn end_with_unread(&mut self, end: EngineEnd, wakers: &mut Wakers) -> bool {
        let Some(Some(conn)) = self.end(end, None, wakers) else { return false };
        if let Transport::Closed(closed) = &mut self.transport {
            closed.rest = Rest::Unread(conn);
        }
        true
    }

    /// No more messages come into the inbox of a session that has ended.
    pub(super) fn finish_reading(&mut self, wakers: &mut Wakers) {
        if let Transport::Closed(Closed { rest: rest @ Rest::Unread(_), .. }) = &mut self.transport
        {
            *rest = Rest::Nothing;
            wakers.extend(self.reader.take());
            wakers.extend(self.driver.take());
        }
    }

    /// Whether the last packet waits for a GET.
    pub(super) const fn has_farewell(&self) -> bool {
        matches!(&self.transport, Transport::Closed(Closed { rest: Rest::Farewell(_), .. }))
    }

    /// Whether no message comes after those in the inbox.
    pub(super) const fn has_last_message(&self) -> bool {
        match &self.transport {
            Transport::Closed(closed) => !matches!(closed.rest, Rest::Unread(_)),
            Transport::Polling | Transport::Upgrading | Transport::WebSocket(_) => false,
        }
    }
}

/// What a GET meets.
pub(super) enum BeginGet {
    Begun,
    /// Another GET is in progress.
    Overlaps,
    /// The last packet of a session that has ended.
    Farewell(&'static str),
    NotPolling,
}

/// What a deadline that has passed requires.
pub(super) enum Due {
    Nothing,
    /// A ping by the WebSocket.
    Ping(Conn),
    /// The end of the session.
    Timeout,
}

/// The instant after a duration, or one that does not come.
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now.checked_add(duration).unwrap_or_else(|| now + CENTURY)
}
