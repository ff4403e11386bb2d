//! What can an application and an adapter do with one session?

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use ws_core::adapter::{self, Batch};
use ws_core::{
    CloseError, CloseInitiator, Conn, Deadline, Error, Message, PreparedMessage, RequestInfo,
    StatusCode, TryWriteError,
};

use super::config::EngineConfig;
use super::packet::EnginePacketError;
use super::sessions::EngineError;
use super::state::{self, CLOSE, EngineState, Transport, Wakers};

/// A session of Engine.IO, over any transport. A clone is the same session.
///
/// The application [receives](Self::receive) and [writes](Self::write_batch) messages. The adapter
/// passes the transports to it: [`get`](Self::get), [`begin_post`](Self::begin_post),
/// [`upgrade`](Self::upgrade), and [`drive`](Self::drive) for its timers.
#[derive(Clone)]
pub struct EngineSession(pub(super) Arc<SessionShared>);

pub(super) struct SessionShared {
    id: Box<str>,
    pub(super) config: Arc<EngineConfig>,
    request: Option<Arc<RequestInfo>>,
    pub(super) state: Mutex<EngineState>,
    ended: Notify,
}

/// Why a session has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineEnd {
    /// The official reason.
    pub kind: EngineEndKind,
    /// The error of the WebSocket. For a session that polls, the error that a WebSocket would have.
    pub error: Error,
}

/// The official reasons for the end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineEndKind {
    /// The client has closed the session or its transport.
    TransportClose,
    /// The transport failed, or the client used it in a way that Engine.IO does not allow.
    TransportError,
    /// The client did not answer a ping within [`EngineConfig::ping_timeout`].
    PingTimeout,
    /// The client sent something that is not a packet.
    ParseError,
    /// This side has closed the session.
    Closed,
}

impl EngineSession {
    pub(super) fn new(
        id: Box<str>,
        config: Arc<EngineConfig>,
        request: Option<Arc<RequestInfo>>,
        conn: Option<Conn>,
    ) -> Self {
        let ping_at = state::after(Instant::now(), config.ping_interval);
        let transport = conn.map_or(Transport::Polling, Transport::WebSocket);
        let state = Mutex::new(EngineState::new(transport, ping_at));
        Self(Arc::new(SessionShared { id, config, request, state, ended: Notify::new() }))
    }

    /// The id, which is the secret of the client: a peer that has it can use the session.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The request of the handshake. `None` if it was not kept.
    pub fn request(&self) -> Option<Arc<RequestInfo>> {
        self.0.request.clone()
    }

    /// The address of the client at the handshake.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.request.as_ref().and_then(|request| request.peer_addr)
    }

    /// [`EngineConfig::close_timeout`].
    pub fn close_timeout(&self) -> Duration {
        self.0.config.close_timeout
    }

    /// The settings.
    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self.0.state.lock().transport, Transport::Closed(_))
    }

    /// Waits for the next message: text without its packet type, or binary. `None` after the last
    /// message of a session that has ended.
    ///
    /// While the application does not call it, the session holds up to 64 messages, and 64 KiB and
    /// one message, of a WebSocket, and the bodies of two POSTs.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses no message. Only one future receives at a time: a second one takes
    /// the place of the first, which is not woken any more.
    pub async fn receive(&self) -> Option<Message> {
        poll_fn(|cx| {
            let mut wakers = Wakers::new();
            let polled = {
                let mut state = self.0.state.lock();
                match state.inbox.pop() {
                    Some(message) => {
                        if state.inbox.has_room_for_payload() {
                            wakers.extend(state.poster.take());
                        }
                        if state.inbox.has_room() {
                            wakers.extend(state.driver.take());
                        }
                        Poll::Ready(Some(message))
                    }
                    None if matches!(state.transport, Transport::Closed(_)) => Poll::Ready(None),
                    None => {
                        state.reader = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            };
            wakers.into_iter().for_each(Waker::wake);
            polled
        })
        .await
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
        let end = EngineEnd::closed(code);
        let conn = match &self.0.state.lock().transport {
            Transport::WebSocket(conn) => Some(conn.clone()),
            Transport::Polling | Transport::Upgrading | Transport::Closed(_) => None,
        };
        if let Some(conn) = conn {
            let guard = EndOnDrop { session: self, end: end.clone() };
            let _ = conn.close(code, "").await;
            drop(guard);
        }
        self.end(end, Some(CLOSE));
    }

    /// Ends the session at once, and drops what has arrived. A WebSocket is aborted.
    pub fn close_now(&self) {
        self.0.state.lock().inbox.clear();
        if let Some(conn) = self.end(EngineEnd::closed(StatusCode::ABNORMAL_CLOSURE), None) {
            conn.close_now();
        }
    }

    /// Waits for the end of the session. Resolves at once if it has ended.
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
            if !state.writers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.writers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Ends the session for a packet that is not valid.
    pub(super) fn refuse_packet(&self, error: EnginePacketError) -> EngineError {
        self.end(EngineEnd::parse_error(), None);
        EngineError::Malformed(error)
    }

    /// Ends the session, unless it has ended. Returns its WebSocket, which is still open.
    pub(super) fn end(&self, end: EngineEnd, farewell: Option<&'static str>) -> Option<Conn> {
        let mut wakers = Wakers::new();
        let ended = self.0.state.lock().end(end, farewell, &mut wakers);
        if ended.is_some() {
            self.0.ended.notify_waiters();
        }
        wakers.into_iter().for_each(Waker::wake);
        ended.flatten()
    }
}

impl EngineEnd {
    fn closed(code: StatusCode) -> Self {
        Self { kind: EngineEndKind::Closed, error: Error::Closed(CloseError::new(code, "")) }
    }

    /// The client has sent a `close` packet.
    pub(super) fn client_closed() -> Self {
        let error = Error::Closed(CloseError::new(StatusCode::NO_STATUS_RECEIVED, ""));
        Self { kind: EngineEndKind::TransportClose, error }
    }

    pub(super) fn transport_error() -> Self {
        let error = Error::Closed(CloseError::new(StatusCode::ABNORMAL_CLOSURE, ""));
        Self { kind: EngineEndKind::TransportError, error }
    }

    pub(super) fn parse_error() -> Self {
        let error = Error::Closed(CloseError::new(StatusCode::UNSUPPORTED_DATA, ""));
        Self { kind: EngineEndKind::ParseError, error }
    }

    pub(super) fn ping_timeout() -> Self {
        Self { kind: EngineEndKind::PingTimeout, error: Error::Timeout(Deadline::Keepalive) }
    }

    /// The end of a session whose WebSocket has ended.
    pub(super) async fn of_conn(conn: &Conn) -> Self {
        let info = conn.closed().await;
        let kind = match (info.by, &info.error) {
            (CloseInitiator::Local, _) => EngineEndKind::Closed,
            (_, Error::Closed(_)) => EngineEndKind::TransportClose,
            _ => EngineEndKind::TransportError,
        };
        Self { kind, error: info.error }
    }
}

/// Ends the session when its closing is dropped.
struct EndOnDrop<'a> {
    session: &'a EngineSession,
    end: EngineEnd,
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.session.end(self.end.clone(), None);
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
