//! With which status and code is a request refused?

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use ws_core::Rejection;
use ws_core::adapter::RefusalKind;
use ws_events::engine::EngineError;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    TransportUnknown,
    /// A handshake that is not a GET.
    HandshakeMethod,
    /// A method that polling does not have.
    Method,
    /// `transport=websocket` in a request that does not ask for a WebSocket, or the reverse.
    TransportMismatch,
    VersionUnsupported,
    /// The session belongs to another page.
    OtherOrigin,
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body did not arrive.
    BodyLost,
    Session(EngineError),
    Handshake(Rejection),
}

impl Refusal {
    /// The code of the official server.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::TransportUnknown => 0,
            Self::Session(EngineError::UnknownSession) => 1,
            Self::HandshakeMethod => 2,
            Self::OtherOrigin
            | Self::Session(EngineError::TooManySessions)
            | Self::Handshake(
                Rejection::OriginMissing
                | Rejection::OriginRepeated
                | Rejection::OriginRefused { .. }
                | Rejection::Filtered
                | Rejection::ShuttingDown
                | Rejection::TooManyConnections
                | Rejection::TooManyQueuedBytes
                | Rejection::TooManyFromAddress
                | Rejection::TooManyOfKey
                | Rejection::TooManyHandshakes,
            ) => 4,
            Self::VersionUnsupported => 5,
            Self::Method
            | Self::TransportMismatch
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::BodyLost
            | Self::Session(_)
            | Self::Handshake(_) => 3,
        }
    }

    /// How the refusal is logged and counted. `None` if that was done where it was decided, or if it
    /// concerns what a session sends.
    pub(crate) fn kind(&self) -> Option<RefusalKind> {
        let (reason, is_policy) = match self {
            Self::TransportUnknown => ("transport_unknown", false),
            Self::TransportMismatch => ("transport_mismatch", false),
            Self::HandshakeMethod => ("method", false),
            Self::VersionUnsupported => ("engine_version_unsupported", false),
            Self::OtherOrigin => ("session_of_other_page", true),
            Self::Session(EngineError::UnknownSession) => ("session_unknown", false),
            Self::Session(EngineError::TooManySessions) => ("too_many_sessions", true),
            Self::Method
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::BodyLost
            | Self::Session(_)
            | Self::Handshake(_) => return None,
        };
        Some(RefusalKind { reason, status: self.status(), is_policy })
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::TransportUnknown
            | Self::HandshakeMethod
            | Self::Method
            | Self::TransportMismatch
            | Self::VersionUnsupported
            | Self::BodyLost => StatusCode::BAD_REQUEST,
            Self::OtherOrigin => StatusCode::FORBIDDEN,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Session(EngineError::TooManySessions) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Session(_) => StatusCode::BAD_REQUEST,
            Self::Handshake(rejection) => rejection.status(),
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::TransportUnknown => "Transport unknown".to_owned(),
            Self::HandshakeMethod => "Bad handshake method".to_owned(),
            Self::Method => "Bad request: use GET or POST".to_owned(),
            Self::TransportMismatch => {
                "Bad request: the request does not fit the transport".to_owned()
            }
            Self::VersionUnsupported => "Unsupported protocol version".to_owned(),
            Self::OtherOrigin => "Forbidden: the session belongs to another page".to_owned(),
            Self::BodyTooLarge => "Bad request: the body exceeds maxPayload".to_owned(),
            Self::BodyTimeout => "Bad request: the body took too long".to_owned(),
            Self::BodyLost => "Bad request: the body did not arrive".to_owned(),
            Self::Session(EngineError::UnknownSession) => "Session ID unknown".to_owned(),
            Self::Session(error) => format!("Bad request: {error}"),
            Self::Handshake(rejection) => rejection.to_string(),
        }
    }

    /// The response, with the code and the reason as JSON.
    pub(crate) fn into_response(self) -> Response<Bytes> {
        let body = serde_json::json!({ "code": self.code(), "message": self.message() });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        match &self {
            Self::Handshake(rejection) => headers.extend(rejection.headers()),
            Self::Session(EngineError::TooManySessions) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
            }
            _ => {}
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::Session(error)
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Handshake(rejection)
    }
}
