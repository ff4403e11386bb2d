//! Which sessions are there, and how does a handshake open one?

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use ws_core::adapter::{self, KeptRequest};
use ws_core::{Conn, RequestInfo};

use super::config::EngineConfig;
use super::packet::{EnginePacket, EnginePacketError};
use super::session::EngineSession;

/// The sessions of a server that have begun with polling, by their ids. A clone is the same table.
#[derive(Clone)]
pub struct EngineSessions(Arc<SessionTable>);

struct SessionTable {
    config: Arc<EngineConfig>,
    inner: Mutex<TableInner>,
}

#[derive(Default)]
struct TableInner {
    /// Each with whether it polls.
    sessions: HashMap<Box<str>, (EngineSession, bool)>,
    polling: usize,
}

/// Why a request of a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no session with this id.
    UnknownSession,
    /// The session uses a WebSocket.
    NotPolling,
    /// Another request of the same method is in progress. The session has ended.
    Overlap,
    /// The body is malformed. The session has ended.
    Malformed(EnginePacketError),
    /// The application did not receive the messages of the last body in time. The session has
    /// ended.
    Unread,
    /// As many sessions poll as [`EngineConfig::max_sessions`] allows.
    TooManySessions,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSession => f.write_str("Session ID unknown"),
            Self::NotPolling => f.write_str("the session uses a WebSocket"),
            Self::Overlap => f.write_str("another request of this session is in progress"),
            Self::Malformed(error) => write!(f, "{error}"),
            Self::Unread => f.write_str("the last messages of this session are not handled yet"),
            Self::TooManySessions => f.write_str("the server is full: come back later"),
        }
    }
}

impl std::error::Error for EngineError {}

/// The data of an `open` packet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Handshake<'a> {
    sid: &'a str,
    upgrades: &'a [&'a str],
    ping_interval: u128,
    ping_timeout: u128,
    max_payload: usize,
}

impl EngineSessions {
    /// A table without sessions.
    pub fn new(config: EngineConfig) -> Self {
        let (config, inner) = (Arc::new(config), Mutex::default());
        Self(Arc::new(SessionTable { config, inner }))
    }

    /// The settings.
    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    /// The number of sessions that poll.
    pub fn polling(&self) -> usize {
        self.0.inner.lock().polling
    }

    /// Opens a session that polls. Returns it with its `open` packet, which is the body of the
    /// response. It is in the table until [`remove`](Self::remove) is called. It keeps a compact
    /// copy of the request.
    ///
    /// # Errors
    ///
    /// [`EngineError::TooManySessions`].
    pub fn open_polling(
        &self,
        request: Option<RequestInfo>,
    ) -> Result<(EngineSession, String), EngineError> {
        let request = request.map(|request| Arc::new(KeptRequest::new(request)));
        let session = EngineSession::new(Arc::clone(&self.0.config), request, None);
        let open = self.open(&session, &["websocket"]).to_text();
        let mut table = self.0.inner.lock();
        if table.polling >= self.0.config.max_sessions {
            return Err(EngineError::TooManySessions);
        }
        table.polling += 1;
        table.sessions.insert(session.id().into(), (session.clone(), true));
        Ok((session, open))
    }

    /// Opens a session on a WebSocket, and sends its `open` packet. Messages of the client may have
    /// up to [`EngineConfig::max_payload`] bytes.
    pub fn open_websocket(&self, conn: Conn) -> EngineSession {
        conn.set_read_limit(Some(self.0.config.max_payload));
        let request = adapter::kept_request(&conn);
        let config = Arc::clone(&self.0.config);
        let session = EngineSession::new(config, request, Some(conn.clone()));
        // The send buffer is empty, so it has room. If the connection has ended, so does the
        // session.
        let _ = conn.try_write(self.open(&session, &[]).to_message());
        session
    }

    /// The session with this id that has begun with polling.
    pub fn find(&self, id: &str) -> Option<EngineSession> {
        self.0.inner.lock().sessions.get(id).map(|(session, _)| session.clone())
    }

    /// A session has changed to a WebSocket: it no longer counts as one that polls.
    pub fn upgraded(&self, session: &EngineSession) {
        let mut table = self.0.inner.lock();
        if let Some((_, is_polling)) = table.sessions.get_mut(session.id())
            && std::mem::take(is_polling)
        {
            table.polling -= 1;
        }
    }

    /// Removes a session that has ended.
    pub fn remove(&self, session: &EngineSession) {
        let mut table = self.0.inner.lock();
        if let Some((_, true)) = table.sessions.remove(session.id()) {
            table.polling -= 1;
        }
        if table.sessions.is_empty() {
            table.sessions = HashMap::new();
        }
    }

    fn open(&self, session: &EngineSession, upgrades: &[&str]) -> EnginePacket {
        let EngineConfig { ping_interval, ping_timeout, max_payload, .. } = *self.0.config;
        let handshake = Handshake {
            sid: session.id(),
            upgrades,
            ping_interval: ping_interval.as_millis(),
            ping_timeout: ping_timeout.as_millis(),
            max_payload,
        };
        EnginePacket::Open(serde_json::to_string(&handshake).unwrap_or_default())
    }
}

impl fmt::Debug for EngineSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSessions").field("polling", &self.polling()).finish_non_exhaustive()
    }
}
