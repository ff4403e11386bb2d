//! What can an application and an adapter do with one session?

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use ws_core::adapter::{self, Batch, KeptRequest};
use ws_core::{Conn, Error, Message, PreparedMessage, RequestInfo, StatusCode, TryWriteError};

use super::config::EngineConfig;
use super::end::EngineEnd;
use super::session_id::SessionId;
use super::state::{self, CLOSE, EngineState, Transport, Wakers};
use crate::error::cut_reason;

/// A session of Engine.IO, over any transport. A clone is the same session.
///
/// The application [receives](Self::receive) and [writes](Self::write_batch) messages. The adapter
/// passes the transports to it: [`get`](Self::get), [`begin_post`](Self::begin_post),
/// [`upgrade`](Self::upgrade), and [`drive`](Self::drive) for its timers.
#[derive(Clone)]
pub struct EngineSession(pub(super) Arc<SessionShared>);

pub(super) struct SessionShared {
    id: SessionId,
    pub(super) config: Arc<EngineConfig>,
    request: Option<Arc<KeptRequest>>,
    pub(super) state: Mutex<EngineState>,
    /// Notified when the session has ended, and when a GET has fetched its last packet.
    pub(super) ended: Notify,
}

impl EngineSession {
    pub(super) fn new(
        config: Arc<EngineConfig>,
        request: Option<Arc<KeptRequest>>,
        conn: Option<Conn>,
    ) -> Self {
        let ping_at = state::after(Instant::now(), config.ping_interval);
        let transport = conn.map_or(Transport::Polling, Transport::WebSocket);
        let state = Mutex::new(EngineState::new(transport, ping_at));
        let (id, ended) = (SessionId::random(), Notify::new());
        Self(Arc::new(SessionShared { id, config, request, state, ended }))
    }

    /// The id, which is the secret of the client: a peer that has it can use the session.
    pub fn id(&self) -> &str {
        self.0.id.as_str()
    }

    /// The request of the handshake. `None` if it was not kept. Each call builds it from a compact
    /// form, as [`Conn::request`] does.
    pub fn request(&self) -> Option<Arc<RequestInfo>> {
        self.0.request.as_ref().map(|kept| Arc::new(kept.get()))
    }

    /// The address of the client at the handshake.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.request.as_ref().and_then(|request| request.peer_addr())
    }

    /// [`EngineConfig::close_timeout`].
    pub fn close_timeout(&self) -> Duration {
        self.0.config.close_timeout
    }

    /// The settings.
    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    /// The id of its WebSocket, as [`Conn::id`] has it.
    pub(crate) fn conn_id(&self) -> Option<u64> {
        match &self.0.state.lock().transport {
            Transport::WebSocket(conn) => Some(conn.id()),
            Transport::Polling | Transport::Upgrading | Transport::Closed(_) => None,
        }
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self.0.state.lock().transport, Transport::Closed(_))
    }

    /// Waits for the next message: text without its packet type, or binary. `None` after the last
    /// message of a session that has ended.
    ///
    /// While the application does not call it, the session holds up to 64 messages, and 64 KiB and
    /// one message, of a WebSocket, and the bodies of two POSTs. Behind them, the WebSocket reads
    /// ahead, and its end is noticed: see [`EngineConfig::ping_timeout`].
    ///
    /// After 64 KiB or 256 messages, and before a message of 64 KiB or more, other connections and
    /// sessions with much input have their turn: [`wake_in_turn`](ws_core::adapter::wake_in_turn).
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses no message. Only one future receives at a time: a second one takes
    /// the place of the first, which is not woken any more.
    pub async fn receive(&self) -> Option<Message> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Polls for the next message: see [`receive`](Self::receive).
    pub(crate) fn poll_receive(&self, cx: &Context<'_>) -> Poll<Option<Message>> {
        let mut wakers = Wakers::new();
        let polled = {
            let mut state = self.0.state.lock();
            if state.inbox.is_turn_over() {
                let asks = state.wait_for_turn(cx);
                drop(state);
                if asks {
                    adapter::wake_in_turn(&Waker::from(Arc::clone(&self.0)));
                }
                return Poll::Pending;
            }
            let was_full = !state.inbox.has_room();
            match state.inbox.pop() {
                Some(message) => {
                    if was_full {
                        state.note_full(Instant::now());
                    }
                    if state.inbox.has_room_for_payload() {
                        wakers.extend(state.take_poster());
                    }
                    if state.inbox.has_room() {
                        wakers.extend(state.driver.take());
                    }
                    Poll::Ready(Some(message))
                }
                None if state.has_last_message() => Poll::Ready(None),
                None => {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        };
        wakers.into_iter().for_each(Waker::wake);
        polled
    }

    /// Polls for the end, in the task that receives: it has one waker for both.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> Poll<EngineEnd> {
        let mut state = self.0.state.lock();
        if let Some(end) = state.end_reason() {
            return Poll::Ready(end.clone());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Why the session has ended, if it has.
    pub(crate) fn end_reason(&self) -> Option<EngineEnd> {
        self.0.state.lock().end_reason().cloned()
    }

    /// Writes several messages together, as [`ws_core::adapter::write_batch`] does. Each message
    /// is in the form that a WebSocket sends: text that begins with its packet type, or binary.
    ///
    /// A session that polls waits for a GET, and answers it with at most 64 KiB and one message.
    /// `take` runs under a lock: it must not use the session.
    ///
    /// # Errors
    ///
    /// The error of the session, if it has ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no message is taken.
    pub async fn write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I + Send + Unpin,
    ) -> Result<Batch, Error> {
        loop {
            if let Some(conn) = self.writable().await? {
                return adapter::write_batch(&conn, take).await;
            }
            let mut wakers = Wakers::new();
            let written = {
                let mut state = self.0.state.lock();
                state.has_waiting_get().then(|| state.write_to_get(&mut take, &mut wakers))
            };
            wakers.into_iter().for_each(Waker::wake);
            // Otherwise another writer was faster.
            if let Some(messages) = written {
                return Ok(Batch::new(messages, true));
            }
        }
    }

    /// As [`write_batch`](Self::write_batch), if there is room now, without waiting.
    ///
    /// # Errors
    ///
    /// [`TryWriteError::Full`] if the session polls and no GET waits; otherwise as
    /// [`try_write_batch`](adapter::try_write_batch). No message is taken then.
    pub fn try_write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I,
    ) -> Result<Batch, TryWriteError> {
        let mut wakers = Wakers::new();
        let conn = {
            let mut state = self.0.state.lock();
            match &state.transport {
                Transport::Closed(closed) => return Err(closed.end.error.clone().into()),
                Transport::WebSocket(conn) => Ok(conn.clone()),
                Transport::Polling | Transport::Upgrading if !state.has_waiting_get() => {
                    return Err(TryWriteError::Full);
                }
                Transport::Polling | Transport::Upgrading => {
                    Err(state.write_to_get(&mut take, &mut wakers))
                }
            }
        };
        wakers.into_iter().for_each(Waker::wake);
        match conn {
            Ok(conn) => adapter::try_write_batch(&conn, take),
            Err(messages) => Ok(Batch::new(messages, true)),
        }
    }

    /// Waits until the WebSocket has taken everything that was written. Returns at once if the
    /// session polls.
    ///
    /// # Errors
    ///
    /// The error of the session, if it has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing.
    pub async fn flush(&self) -> Result<(), Error> {
        let conn = match &self.0.state.lock().transport {
            Transport::Closed(closed) => return Err(closed.end.error.clone()),
            Transport::WebSocket(conn) => conn.clone(),
            Transport::Polling | Transport::Upgrading => return Ok(()),
        };
        conn.flush().await
    }

    /// Closes the session: a WebSocket with this code, a session that polls with a `close` packet.
    /// Messages that were written earlier arrive first. Clients report `transport close`, and
    /// connect again.
    ///
    /// # Cancel safety
    ///
    /// The session is closed if the future is dropped.
    pub async fn close(&self, code: StatusCode) {
        self.close_because(code, "").await;
    }

    /// As [`close`](Self::close), with a reason, of which a WebSocket sends as much as fits into its
    /// close frame. A session that polls has no place for it.
    pub(crate) async fn close_because(&self, code: StatusCode, reason: &str) {
        let reason = cut_reason(reason);
        let end = EngineEnd::closed(code, reason);
        let conn = match &self.0.state.lock().transport {
            Transport::WebSocket(conn) => Some(conn.clone()),
            Transport::Polling | Transport::Upgrading | Transport::Closed(_) => None,
        };
        if let Some(conn) = conn {
            let guard = EndOnDrop { session: self, end: end.clone() };
            let _ = conn.close(code, reason).await;
            drop(guard);
        }
        self.end(end, Some(CLOSE));
    }

    /// Ends the session at once, and drops what has arrived. A WebSocket is aborted.
    pub fn close_now(&self) {
        // First, so that no other thread ends it with messages that are not read.
        self.end(EngineEnd::closed(StatusCode::ABNORMAL_CLOSURE, ""), None);
        self.0.state.lock().inbox.clear();
        self.finish_reading();
    }

    /// Waits for the end of the session. Resolves at once if it has ended.
    /// [`receive`](Self::receive) still returns the messages that have arrived before the end.
    ///
    /// # Cancel safety
    ///
    /// Any number of futures can wait, and be dropped.
    pub async fn closed(&self) -> EngineEnd {
        loop {
            let ended = self.0.ended.notified();
            if let Transport::Closed(closed) = &self.0.state.lock().transport {
                return closed.end.clone();
            }
            ended.await;
        }
    }

    /// Waits until a GET has fetched the last packet of a session that has ended.
    pub(crate) async fn client_told(&self) {
        loop {
            let told = self.0.ended.notified();
            if !self.0.state.lock().has_farewell() {
                return;
            }
            told.await;
        }
    }

    /// Waits until a batch can be written. Returns the WebSocket, if the session has one.
    async fn writable(&self) -> Result<Option<Conn>, Error> {
        poll_fn(|cx| {
            let mut state = self.0.state.lock();
            match &state.transport {
                Transport::Closed(closed) => return Poll::Ready(Err(closed.end.error.clone())),
                Transport::WebSocket(conn) => return Poll::Ready(Ok(Some(conn.clone()))),
                Transport::Polling | Transport::Upgrading => {}
            }
            if state.has_waiting_get() {
                return Poll::Ready(Ok(None));
            }
            let writers = &mut state.polling().writers;
            if !writers.iter().any(|waker| waker.will_wake(cx.waker())) {
                writers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Ends the session, unless it has ended, and aborts its WebSocket. A session may have changed to
    /// it after the caller has looked.
    pub(super) fn end(&self, end: EngineEnd, farewell: Option<&'static str>) {
        if let Some(conn) = self.end_open(end, farewell) {
            conn.close_now();
        }
    }

    /// Ends the session, unless it has ended. Its WebSocket stays open: the caller closes it.
    #[must_use = "the WebSocket has to be closed"]
    pub(super) fn end_open(&self, end: EngineEnd, farewell: Option<&'static str>) -> Option<Conn> {
        let mut wakers = Wakers::new();
        let ended = self.0.state.lock().end(end, farewell, &mut wakers);
        if ended.is_some() {
            self.0.ended.notify_waiters();
        }
        wakers.into_iter().for_each(Waker::wake);
        ended.flatten()
    }

    /// No more messages come after those in the inbox of a session that has ended.
    pub(super) fn finish_reading(&self) {
        let mut wakers = Wakers::new();
        self.0.state.lock().finish_reading(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends the session, whose WebSocket has ended and has messages that are not read yet.
    pub(super) fn end_with_unread(&self, end: EngineEnd) {
        let mut wakers = Wakers::new();
        if self.0.state.lock().end_with_unread(end, &mut wakers) {
            self.0.ended.notify_waiters();
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The turn of the session begins.
impl Wake for SessionShared {
    fn wake(self: Arc<Self>) {
        let reader = self.state.lock().begin_turn();
        reader.into_iter().for_each(Waker::wake);
    }
}

/// Ends the session when its closing is dropped.
struct EndOnDrop<'a> {
    session: &'a EngineSession,
    end: EngineEnd,
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        // Its close frame is on the way.
        let _ = self.session.end_open(self.end.clone(), None);
    }
}

/// Without the id, which is a secret.
impl fmt::Debug for EngineSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.0.state.lock().transport {
            Transport::Polling => "polling",
            Transport::Upgrading => "upgrading",
            Transport::WebSocket(_) => "websocket",
            Transport::Closed(_) => "closed",
        };
        f.debug_struct("EngineSession").field("transport", &transport).finish_non_exhaustive()
    }
}
