//! Why does a session end?

use ws_core::{CloseError, CloseInitiator, Conn, Deadline, Error, StatusCode};

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
    /// The client did not answer a ping within [`ping_timeout`](crate::engine::EngineConfig::ping_timeout).
    PingTimeout,
    /// The client sent something that is not a packet.
    ParseError,
    /// This side has closed the session.
    Closed,
}

impl EngineEnd {
    pub(super) fn closed(code: StatusCode, reason: &str) -> Self {
        Self { kind: EngineEndKind::Closed, error: Error::Closed(CloseError::new(code, reason)) }
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
