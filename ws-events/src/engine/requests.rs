//! How do the GET, the POST and the WebSocket of a client reach its session?

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use ws_core::{Conn, Error, StatusCode, adapter};

use super::end::EngineEnd;
use super::packet::{EnginePacket, EnginePacketError};
use super::payload::EnginePayload;
use super::session::EngineSession;
use super::sessions::EngineError;
use super::state::{self, BeginGet, NOOP, Transport, Wakers};
use super::turn::TURN_BYTES;

/// How long a GET waits for messages while a WebSocket is tested: the client needs its end.
const NOOP_DELAY: Duration = Duration::from_millis(100);

/// How many packets of a body are validated in one turn. One counts once more for each of these bytes.
const TURN: usize = 64;
const PACKET_BYTES: usize = TURN_BYTES / TURN;

/// How many packets of a body may be no messages. To receive a message passes over those before it.
const MAX_OTHER_PACKETS: usize = 64;

impl EngineSession {
    /// Serves a GET: waits for messages, and returns the body of the response. For adapters.
    ///
    /// # Errors
    ///
    /// [`EngineError`] if the session does not poll, or has another GET, which ends it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, messages may be lost: the session ends, with its WebSocket if it has
    /// one. It goes on if nothing is lost: before the GET begins, and if its answer is `noop`.
    pub async fn get(&self) -> Result<Bytes, EngineError> {
        self.look_for_upgrade().await;
        let mut wakers = Wakers::new();
        let begun = self.0.state.lock().begin_get(&self.0.config, Instant::now(), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        match begun {
            BeginGet::Begun => {}
            BeginGet::Farewell(packet) => {
                self.0.ended.notify_waiters();
                return Ok(Bytes::from_static(packet.as_bytes()));
            }
            BeginGet::NotPolling => return Err(self.not_polling()),
            BeginGet::TimedOut => {
                self.end(EngineEnd::ping_timeout(), None);
                return Err(self.not_polling());
            }
            BeginGet::Overlaps => {
                self.end(EngineEnd::transport_error(), None);
                return Err(EngineError::Overlap);
            }
        }
        let _guard = GetGuard(self);
        loop {
            let is_upgrading = matches!(self.0.state.lock().transport, Transport::Upgrading);
            let answered = poll_fn(|cx| self.0.state.lock().poll_answer(cx));
            if !is_upgrading {
                return answered.await.ok_or(EngineError::Overlap);
            }
            match timeout(NOOP_DELAY, answered).await {
                Ok(answered) => return answered.ok_or(EngineError::Overlap),
                Err(_) => self.answer_noop(),
            }
        }
    }

    /// Begins a POST, before its body is read. For adapters.
    ///
    /// # Errors
    ///
    /// [`EngineError`] if the session does not poll, or has another POST, which ends it.
    pub fn begin_post(&self) -> Result<EnginePost, EngineError> {
        let mut state = self.0.state.lock();
        if !matches!(state.transport, Transport::Polling | Transport::Upgrading) {
            drop(state);
            return Err(self.not_polling());
        }
        let begun = state.begin_post();
        drop(state);
        if !begun {
            self.end(EngineEnd::transport_error(), None);
            return Err(EngineError::Overlap);
        }
        Ok(EnginePost { session: self.clone(), is_finished: false })
    }

    /// Begins an upgrade, before the handshake of its WebSocket is answered: the client may send its
    /// `upgrade` packet, and then a GET, as soon as it has the answer. `None` if the session does not
    /// poll, or another WebSocket is tested. For adapters.
    pub fn begin_upgrade(&self) -> Option<EngineUpgrade> {
        let begun = self.0.state.lock().begin_upgrade();
        begun.then(|| EngineUpgrade { session: self.clone() })
    }

    /// Begins an upgrade, and [completes](EngineUpgrade::complete) it. For adapters. Returns whether
    /// the session now uses the WebSocket. If not, the WebSocket is closed, and the session continues
    /// to poll.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the WebSocket is dropped, and the session continues to poll.
    pub async fn upgrade(&self, conn: Conn) -> bool {
        if let Some(upgrade) = self.begin_upgrade() {
            return upgrade.complete(conn).await;
        }
        let _ = conn.close(StatusCode::POLICY_VIOLATION, "").await;
        false
    }

    /// Waits until the client has tested the WebSocket, and has announced that it uses it now.
    async fn test(&self, conn: &Conn) -> Result<(), Error> {
        for expected in ["2probe", "5"] {
            if conn.read().await?.as_text() != Some(expected) {
                return Err(EngineEnd::parse_error().error);
            }
            if expected == "2probe" {
                conn.write(state::PROBED).await?;
                self.answer_noop();
            }
        }
        Ok(())
    }

    /// Waits until the task that tests a WebSocket has read what had arrived. So a GET that a client
    /// sends behind its `upgrade` packet finds a session that does not poll.
    async fn look_for_upgrade(&self) {
        let mut asked = None;
        poll_fn(|cx| {
            let mut wakers = Wakers::new();
            let polled = self.0.state.lock().poll_look(cx, &mut asked, &mut wakers);
            wakers.into_iter().for_each(Waker::wake);
            polled
        })
        .await;
    }

    /// Polls the test of a WebSocket. Each time that it has to wait, it has read what had arrived.
    async fn tell_looks<T>(&self, testing: impl Future<Output = T>) -> T {
        let mut testing = pin!(testing);
        poll_fn(|cx| {
            let last = self.0.state.lock().begin_look(cx);
            let polled = testing.as_mut().poll(cx);
            if polled.is_pending() {
                let mut wakers = Wakers::new();
                self.0.state.lock().end_look(last, &mut wakers);
                wakers.into_iter().for_each(Waker::wake);
            }
            polled
        })
        .await
    }

    /// Ends the GET that waits, so that the client can change to the WebSocket.
    fn answer_noop(&self) {
        let mut wakers = Wakers::new();
        let noop = Bytes::from_static(NOOP.as_bytes());
        self.0.state.lock().answer_get(noop, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Validates the packets of a body in turns, so that other tasks run meanwhile, and applies those
    /// that are no messages. Returns the number of messages, and whether the client has closed the
    /// session.
    async fn note_packets(
        &self,
        payload: EnginePayload,
    ) -> Result<(usize, bool), EnginePacketError> {
        let (mut messages, mut is_pong, mut is_closed) = (0_usize, false, false);
        let mut turn = 0;
        for (index, packet) in payload.enumerate() {
            turn += 1;
            if turn >= TURN {
                turn = 0;
                self.wait_for_turn().await;
            }
            match packet? {
                EnginePacket::Message(message) => {
                    turn += message.len() / PACKET_BYTES;
                    messages += 1;
                    continue;
                }
                EnginePacket::Noop => {}
                EnginePacket::Pong(_) => is_pong = true,
                EnginePacket::Close => is_closed = true,
                EnginePacket::Open(_) | EnginePacket::Ping(_) | EnginePacket::Upgrade => {
                    return Err(EnginePacketError::Unexpected);
                }
            }
            if index - messages >= MAX_OTHER_PACKETS {
                return Err(EnginePacketError::Unexpected);
            }
        }
        self.0.state.lock().note_packet(&self.0.config, is_pong, Instant::now());
        Ok((messages, is_closed))
    }

    /// Lets other tasks run, and waits until it is the turn of this session.
    async fn wait_for_turn(&self) {
        // The turn may begin at once.
        yield_now().await;
        let turn = Arc::new(PostTurn::default());
        adapter::wake_in_turn(&Waker::from(Arc::clone(&turn)));
        turn.0.notified().await;
    }

    /// Puts a body with this many messages into the inbox when it has room, or at once if it
    /// `is_last`.
    async fn put_payload(
        &self,
        payload: EnginePayload,
        messages: usize,
        is_last: bool,
    ) -> Result<(), EngineError> {
        let mut payload = Some(payload);
        let mut wakers = Wakers::new();
        let put = poll_fn(|cx| {
            let mut state = self.0.state.lock();
            if matches!(state.transport, Transport::Closed(_)) {
                return Poll::Ready(Err(EngineError::UnknownSession));
            }
            if !is_last && !state.inbox.has_room_for_payload() {
                state.polling().poster = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if let Some(payload) = payload.take() {
                state.inbox.push_payload(payload, messages);
            }
            wakers.extend(state.take_reader());
            Poll::Ready(Ok(()))
        })
        .await;
        wakers.into_iter().for_each(Waker::wake);
        put
    }

    /// Ends the session for a body that is malformed.
    fn refuse_body(&self, error: EnginePacketError) -> EngineError {
        self.end(EngineEnd::parse_error(), None);
        EngineError::Malformed(error)
    }

    /// Why a request for polling is refused.
    fn not_polling(&self) -> EngineError {
        match self.0.state.lock().transport {
            Transport::Closed(_) => EngineError::UnknownSession,
            Transport::WebSocket(_) | Transport::Polling | Transport::Upgrading => {
                EngineError::NotPolling
            }
        }
    }
}

/// Notified when the turn of a POST begins.
#[derive(Default)]
struct PostTurn(Notify);

impl Wake for PostTurn {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Ends the session when the GET in progress is dropped before its answer was fetched.
struct GetGuard<'a>(&'a EngineSession);

impl Drop for GetGuard<'_> {
    fn drop(&mut self) {
        let is_cut = self.0.0.state.lock().end_get();
        if is_cut {
            self.0.end(EngineEnd::transport_error(), None);
        }
    }
}

/// A POST whose body is being read. If it is dropped before it has [finished](Self::finish), the
/// session ends, because the messages of the client are lost.
///
/// The session may change to a WebSocket meanwhile. What ends the session then also ends that.
#[derive(Debug)]
pub struct EnginePost {
    session: EngineSession,
    is_finished: bool,
}

impl EnginePost {
    /// Takes the packets of the body.
    ///
    /// Waits while the messages of the last body are not received, for at most
    /// [`EngineConfig::ping_interval`](crate::engine::EngineConfig::ping_interval) plus
    /// [`EngineConfig::ping_timeout`](crate::engine::EngineConfig::ping_timeout).
    ///
    /// # Errors
    ///
    /// [`EngineError`] if the session has ended, if the body is malformed or if its messages have
    /// to wait for too long. The session has ended then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends.
    pub async fn finish(mut self, body: Bytes) -> Result<(), EngineError> {
        let session = &self.session;
        let parsed = async {
            if body.len() > TURN_BYTES {
                session.wait_for_turn().await;
            }
            let payload = EnginePayload::new(body)?;
            Ok((session.note_packets(payload.clone()).await?, payload))
        };
        let ((messages, is_closed), payload) =
            parsed.await.map_err(|error| session.refuse_body(error))?;
        if messages > 0 {
            let config = &session.0.config;
            let limit = config.ping_interval.saturating_add(config.ping_timeout);
            let put = timeout(limit, session.put_payload(payload, messages, is_closed)).await;
            put.unwrap_or(Err(EngineError::Unread))?;
        }
        self.is_finished = true;
        if is_closed {
            self.session.end(EngineEnd::client_closed(), Some(NOOP));
        }
        Ok(())
    }
}

impl Drop for EnginePost {
    fn drop(&mut self) {
        self.session.0.state.lock().end_post();
        if !self.is_finished {
            self.session.end(EngineEnd::transport_error(), None);
        }
    }
}

/// An upgrade that has begun. If it is dropped, the session continues to poll.
#[derive(Debug)]
#[must_use = "the session continues to poll without it"]
pub struct EngineUpgrade {
    session: EngineSession,
}

impl EngineUpgrade {
    /// Tests the WebSocket, and changes to it. Returns whether the session now uses it. If not, the
    /// WebSocket is closed, and the session continues to poll.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the WebSocket is dropped, and the session continues to poll.
    pub async fn complete(self, conn: Conn) -> bool {
        let session = &self.session;
        conn.set_read_limit(Some(session.0.config.max_payload));
        let is_tested = {
            let testing = session.tell_looks(session.test(&conn));
            let mut testing = pin!(timeout(session.0.config.upgrade_timeout, testing));
            tokio::select! {
                tested = &mut testing => matches!(tested, Ok(Ok(()))),
                _ = session.closed() => {
                    // A client that has the answer to its test polls no more. It notices the end of the
                    // WebSocket only when it uses it: otherwise it would wait for a ping.
                    let _ = testing.await;
                    false
                }
            }
        };
        if is_tested {
            let mut wakers = Wakers::new();
            let switched = session.0.state.lock().switch(&conn, &mut wakers);
            if switched == Some(true) {
                // The send buffer is empty, so it has room.
                let _ = conn.try_write(state::PING);
            }
            wakers.into_iter().for_each(Waker::wake);
            if switched.is_some() {
                return true;
            }
        }
        drop(self);
        let _ = conn.close(StatusCode::POLICY_VIOLATION, "").await;
        false
    }
}

impl Drop for EngineUpgrade {
    fn drop(&mut self) {
        let mut wakers = Wakers::new();
        self.session.0.state.lock().cancel_upgrade(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}
