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
//!
//! Longer than 400 lines because the states and all that changes them are read together.

use std::task::{Context, Poll, Waker};
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
    Closed(Box<Closed>),
}

/// What the task that tests a WebSocket shares with GETs.
///
/// A client may send its `upgrade` packet, and then a GET, which is too late. A request may be served
/// before that packet is read, although it has arrived later. So a GET waits until the task has looked
/// once more at what the WebSocket has received.
#[derive(Debug, Default)]
pub(super) struct UpgradeTest {
    /// Waits for the packets of the WebSocket, or for a GET that asks.
    tester: Option<Waker>,
    /// How many GETs have asked, and how many of them have their answer.
    asked: u64,
    answered: u64,
    /// The GETs that wait for it.
    askers: SmallVec<[Waker; 1]>,
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

/// What the GETs and POSTs of a session share with it.
#[derive(Debug, Default)]
pub(super) struct PollingState {
    /// The GET in progress. One that has an answer outlives the state in which it began.
    get: Get,
    /// Whether a ping waits for a GET.
    ping_due: bool,
    /// Whether a POST is in progress.
    posting: bool,
    /// Wait for a GET: the writers of the application.
    pub(super) writers: SmallVec<[Waker; 1]>,
    /// Waits for room in the inbox: the POST.
    pub(super) poster: Option<Waker>,
    test: UpgradeTest,
}

/// The futures to wake after the lock is released.
pub(super) type Wakers = SmallVec<[Waker; 4]>;

/// What a session is, under its lock.
#[derive(Debug)]
pub(super) struct EngineState {
    pub(super) transport: Transport,
    /// `None` for a session on a WebSocket whose last GET and POST have ended.
    polling: Option<Box<PollingState>>,
    pub(super) heartbeat: Heartbeat,
    pub(super) inbox: EngineInbox,
    /// When the inbox had no more room for messages of the WebSocket, or was full and gave one to the
    /// application. In a box, since most inboxes never are.
    full_at: Option<Box<Instant>>,
    /// Waits for a message: the application.
    pub(super) reader: Option<Waker>,
    /// Waits for a WebSocket, room in the inbox, or the end: the task of the session.
    pub(super) driver: Option<Waker>,
}

impl EngineState {
    pub(super) fn new(transport: Transport, ping_at: Instant) -> Self {
        Self {
            transport,
            polling: None,
            heartbeat: Heartbeat::Idle { ping_at },
            inbox: EngineInbox::default(),
            full_at: None,
            reader: None,
            driver: None,
        }
    }

    /// The inbox has no more room, or had none before it gave a message to the application.
    pub(super) fn note_full(&mut self, now: Instant) {
        match &mut self.full_at {
            Some(full_at) => **full_at = now,
            None => self.full_at = Some(Box::new(now)),
        }
    }

    /// For GETs and POSTs, and for those that wait for them.
    pub(super) fn polling(&mut self) -> &mut PollingState {
        self.polling.get_or_insert_default()
    }

    /// Frees what a session that has changed to a WebSocket does not need any more.
    fn free_polling(&mut self) {
        if let Transport::WebSocket(_) = self.transport
            && let Some(polling) = &self.polling
            && matches!(polling.get, Get::Absent)
            && !polling.posting
        {
            self.polling = None;
        }
    }

    /// Begins a GET. It may be answered at once.
    pub(super) fn begin_get(
        &mut self,
        config: &EngineConfig,
        now: Instant,
        wakers: &mut Wakers,
    ) -> BeginGet {
        // The task of the session may not have seen the deadline yet.
        if matches!(self.transport, Transport::Polling)
            && matches!(self.on_deadline(config, now, 0, wakers), Due::Timeout)
        {
            return BeginGet::TimedOut;
        }
        match &mut self.transport {
            Transport::Polling | Transport::Upgrading => {
                let polling = self.polling();
                if !matches!(polling.get, Get::Absent) {
                    return BeginGet::Overlaps;
                }
                polling.get = match std::mem::take(&mut polling.ping_due) {
                    true => Get::Answered(Bytes::from_static(PING.as_bytes())),
                    false => {
                        wakers.extend(polling.writers.drain(..));
                        Get::Waiting(None)
                    }
                };
                BeginGet::Begun
            }
            Transport::Closed(closed) => match closed.rest {
                Rest::Farewell(packet) => {
                    closed.rest = Rest::Nothing;
                    BeginGet::Farewell(packet)
                }
                Rest::Nothing | Rest::Unread(_) => BeginGet::NotPolling,
            },
            Transport::WebSocket(_) => BeginGet::NotPolling,
        }
    }

    /// Answers the GET that waits, if there is one.
    pub(super) fn answer_get(&mut self, body: Bytes, wakers: &mut Wakers) -> bool {
        let Some(polling) = &mut self.polling else { return false };
        let Get::Waiting(waker) = &mut polling.get else { return false };
        wakers.extend(waker.take());
        polling.get = Get::Answered(body);
        true
    }

    /// Polls for the answer to the GET in progress. `None` if there is no GET any more.
    pub(super) fn poll_answer(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let Some(polling) = &mut self.polling else { return Poll::Ready(None) };
        match std::mem::take(&mut polling.get) {
            Get::Answered(body) => Poll::Ready(Some(body)),
            Get::Absent => Poll::Ready(None),
            Get::Waiting(_) => {
                polling.get = Get::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    /// A GET has ended. Returns whether that ends the session: it waited for messages, or its answer was
    /// not fetched. A `noop` that is not fetched loses nothing.
    pub(super) fn end_get(&mut self) -> bool {
        let get = self.polling.as_mut().map(|polling| std::mem::take(&mut polling.get));
        self.free_polling();
        match get.unwrap_or_default() {
            Get::Absent => false,
            Get::Waiting(_) => true,
            Get::Answered(body) => body != NOOP,
        }
    }

    /// Begins a POST. Returns `false` if another one is in progress.
    pub(super) fn begin_post(&mut self) -> bool {
        !std::mem::replace(&mut self.polling().posting, true)
    }

    /// A POST has ended.
    pub(super) fn end_post(&mut self) {
        self.polling().posting = false;
        self.free_polling();
    }

    /// The POST that waits for room in the inbox.
    pub(super) fn take_poster(&mut self) -> Option<Waker> {
        self.polling.as_mut()?.poster.take()
    }

    /// Whether a batch can be written to a GET now.
    pub(super) fn has_waiting_get(&self) -> bool {
        self.polling.as_ref().is_some_and(|polling| matches!(polling.get, Get::Waiting(_)))
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
        let is_posting = self.polling.as_ref().is_some_and(|polling| polling.posting);
        match self.heartbeat {
            // Its pong may be in the POST, which has a deadline of its own.
            Heartbeat::Pinged { heard, .. } if is_posting => {
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
                let full_at = self.full_at.as_deref().copied().unwrap_or(now);
                let until = after(full_at, limit);
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
        let is_due = !self.answer_get(Bytes::from_static(PING.as_bytes()), wakers);
        self.polling().ping_due = is_due;
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

    /// The task that tests a WebSocket looks at what it has received. Returns the last GET that has
    /// asked for it.
    pub(super) fn begin_look(&mut self, cx: &Context<'_>) -> u64 {
        let test = &mut self.polling().test;
        test.tester = Some(cx.waker().clone());
        test.asked
    }

    /// The `upgrade` packet has not arrived: answers the GETs up to this one.
    pub(super) fn end_look(&mut self, last: u64, wakers: &mut Wakers) {
        let test = &mut self.polling().test;
        if test.answered < last {
            test.answered = last;
            wakers.extend(test.askers.drain(..));
        }
    }

    /// Polls until the WebSocket that is tested was looked at. `asked` is the number of the GET.
    pub(super) fn poll_look(
        &mut self,
        cx: &Context<'_>,
        asked: &mut Option<u64>,
        wakers: &mut Wakers,
    ) -> Poll<()> {
        if !matches!(self.transport, Transport::Upgrading) {
            return Poll::Ready(());
        }
        let test = &mut self.polling().test;
        let number = *asked.get_or_insert_with(|| {
            test.asked += 1;
            wakers.extend(test.tester.take());
            test.asked
        });
        if number <= test.answered {
            return Poll::Ready(());
        }
        test.askers.push(cx.waker().clone());
        Poll::Pending
    }

    /// The test of a WebSocket has ended: no GET waits for it any more.
    fn end_test(&mut self, wakers: &mut Wakers) {
        if let Some(polling) = &mut self.polling {
            let test = &mut polling.test;
            (test.tester, test.answered) = (None, test.asked);
            wakers.extend(test.askers.drain(..));
        }
    }

    /// The test of a WebSocket has failed, or was given up.
    pub(super) fn cancel_upgrade(&mut self, wakers: &mut Wakers) {
        if matches!(self.transport, Transport::Upgrading) {
            self.transport = Transport::Polling;
        }
        self.end_test(wakers);
    }

    /// Changes to the WebSocket that was tested. Returns whether a ping is due there.
    pub(super) fn switch(&mut self, conn: &Conn, wakers: &mut Wakers) -> Option<bool> {
        if !matches!(self.transport, Transport::Upgrading) {
            return None;
        }
        self.end_test(wakers);
        self.answer_get(Bytes::from_static(NOOP.as_bytes()), wakers);
        self.transport = Transport::WebSocket(conn.clone());
        wakers.extend(self.driver.take());
        let polling = self.polling();
        wakers.extend(polling.writers.drain(..));
        let is_ping_due = std::mem::take(&mut polling.ping_due);
        self.free_polling();
        Some(is_ping_due)
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
        let closed = Transport::Closed(Box::new(Closed { end, rest }));
        let before = std::mem::replace(&mut self.transport, closed);
        wakers.extend([self.reader.take(), self.driver.take()].into_iter().flatten());
        self.end_test(wakers);
        if let Some(polling) = &mut self.polling {
            wakers.extend(polling.poster.take());
            wakers.extend(polling.writers.drain(..));
        }
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
        if let Transport::Closed(closed) = &mut self.transport
            && let Rest::Unread(_) = closed.rest
        {
            closed.rest = Rest::Nothing;
            wakers.extend(self.reader.take());
            wakers.extend(self.driver.take());
        }
    }

    /// The application, if it waits for a message.
    pub(super) fn take_reader(&mut self) -> Option<Waker> {
        if self.inbox.turn.is_waiting() { None } else { self.reader.take() }
    }

    /// The application waits for its turn, to receive the next message. Returns whether it has to ask
    /// for one: not if the same task has asked before.
    pub(super) fn wait_for_turn(&mut self, cx: &Context<'_>) -> bool {
        let has_asked = self.inbox.turn.wait();
        let is_same = |reader: &Waker| reader.will_wake(cx.waker());
        if has_asked && self.reader.as_ref().is_some_and(is_same) {
            return false;
        }
        self.reader = Some(cx.waker().clone());
        true
    }

    /// The turn of the session begins.
    pub(super) fn begin_turn(&mut self) -> Option<Waker> {
        self.inbox.turn.begin();
        self.reader.take()
    }

    /// Why the session has ended, if it has.
    pub(super) fn end_reason(&self) -> Option<&EngineEnd> {
        let Transport::Closed(closed) = &self.transport else { return None };
        Some(&closed.end)
    }

    /// Whether the last packet waits for a GET.
    pub(super) fn has_farewell(&self) -> bool {
        let Transport::Closed(closed) = &self.transport else { return false };
        matches!(closed.rest, Rest::Farewell(_))
    }

    /// Whether no message comes after those in the inbox.
    pub(super) fn has_last_message(&self) -> bool {
        match &self.transport {
            Transport::Closed(closed) => !matches!(closed.rest, Rest::Unread(_)),
            Transport::Polling | Transport::Upgrading | Transport::WebSocket(_) => false,
        }
    }
}

/// What a GET meets.
pub(super) enum BeginGet {
    Begun,
    /// The time of the session is over.
    TimedOut,
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

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    /// Each row has the requests that are in progress when the session changes to a WebSocket.
    #[tokio::test]
    async fn a_session_on_a_websocket_keeps_nothing_for_its_last_requests() {
        for (is_polling, is_posting) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let (conn, _peer) = ws_core::pair();
            let now = Instant::now();
            let mut state =
                EngineState::new(Transport::Polling, after(now, Duration::from_secs(1)));
            let mut wakers = Wakers::new();
            if is_polling {
                let begun = state.begin_get(&EngineConfig::new(), now, &mut wakers);
                assert!(matches!(begun, BeginGet::Begun));
            }
            if is_posting {
                assert!(state.begin_post());
            }
            assert!(state.begin_upgrade());
            assert_eq!(state.switch(&conn, &mut wakers), Some(false));
            assert_eq!(state.polling.is_some(), is_polling || is_posting);
            if is_polling {
                let answer = state.poll_answer(&Context::from_waker(Waker::noop()));
                assert_eq!(answer, Poll::Ready(Some(Bytes::from_static(NOOP.as_bytes()))));
                assert!(!state.end_get(), "the answer was fetched");
                assert_eq!(state.polling.is_some(), is_posting);
            }
            if is_posting {
                state.end_post();
            }
            assert!(state.polling.is_none(), "{is_polling} {is_posting}");
        }
    }
}
