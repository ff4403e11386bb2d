//! Why does a server reject an opening handshake, and with which response?

use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Response, StatusCode};

use crate::Escaped;
use crate::redact::Redacted;

/// Why the server rejects an opening handshake.
///
/// Each reason has an HTTP [status](Self::status), [headers](Self::headers) that name what is
/// supported, and a text for the response. The text reveals nothing about the server beyond the
/// names of its settings. Adapters create some of the reasons:
/// [`NotUpgradable`](Self::NotUpgradable), [`ShuttingDown`](Self::ShuttingDown),
/// [`Timeout`](Self::Timeout).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// 426: the request is HTTP/1.0 or older (RFC 6455 §4.2.1).
    HttpTooOld,
    /// 501: the request is HTTP/3 or newer.
    HttpTooNew,
    /// 426: the request is not an upgrade to a WebSocket (RFC 6455 §4.2.1).
    NotUpgrade,
    /// 405: the method of a request over HTTP/2 is not CONNECT (RFC 8441 §4).
    NotConnect,
    /// 501: a CONNECT without `:protocol`, or with a value other than `websocket` (RFC 8441 §4,
    /// RFC 9220 §3).
    ProtocolUnknown,
    /// 404: [`AcceptOptions::filter`](super::AcceptOptions::filter) does not accept the request,
    /// and no other route does.
    Filtered,
    /// 405: the method is not GET (RFC 6455 §4.2.1).
    Method,
    /// 400: no `Sec-WebSocket-Version` (RFC 6455 §4.2.1).
    VersionMissing,
    /// 400: more than one `Sec-WebSocket-Version`.
    VersionRepeated,
    /// 426: a `Sec-WebSocket-Version` other than 13 (RFC 6455 §4.4).
    VersionUnsupported,
    /// 400: a `Sec-WebSocket-Version` other than 13 over HTTP/2, which has no 426
    /// (RFC 9113 §8.2.2).
    ConnectVersionUnsupported,
    /// 400: no `Sec-WebSocket-Key` (RFC 6455 §4.2.1).
    KeyMissing,
    /// 400: more than one `Sec-WebSocket-Key` (RFC 6455 §11.3.1).
    KeyRepeated,
    /// 400: a `Sec-WebSocket-Key` that is not 16 bytes (RFC 6455 §4.2.1).
    KeyInvalid,
    /// 400: no `Host` (RFC 9112 §3.2), and over HTTP/2 no `:authority` either.
    HostMissing,
    /// 400: more than one `Host` (RFC 9112 §3.2).
    HostRepeated,
    /// 400: `Host` or the authority of the target is not a host with an optional port
    /// (RFC 9112 §3.2). An empty one, and one with userinfo, is invalid (RFC 9110 §4.2).
    HostInvalid,
    /// 400: the target of the request has no path (RFC 6455 §4.1).
    TargetInvalid,
    /// 400: the request has a body, which would be read as frames.
    Body,
    /// 403: no `Origin`, and [`Origin::refuse_missing`](super::Origin::refuse_missing) is set.
    OriginMissing,
    /// 403: more than one `Origin` (RFC 6454 §7.3).
    OriginRepeated,
    /// 403: an `Origin` that [`AcceptOptions::origin`](super::AcceptOptions::origin)
    /// does not allow.
    #[non_exhaustive]
    OriginRefused {
        /// The value of `Origin`.
        origin: Box<str>,
        /// The host of the request, or the one that a trusted proxy names.
        host: Box<str>,
    },
    /// 400: `Sec-WebSocket-Protocol` is not a list of distinct tokens (RFC 6455 §4.1).
    SubprotocolsMalformed,
    /// 400: no common subprotocol, and
    /// [`require_subprotocol`](super::AcceptOptions::require_subprotocol) is set.
    SubprotocolRequired,
    /// 400: the head is not HTTP.
    HeadMalformed,
    /// 431: the head exceeds [`AcceptOptions::head_limit`](super::AcceptOptions::head_limit).
    HeadTooLarge,
    /// 408: [`AcceptOptions::handshake_timeout`](super::AcceptOptions::handshake_timeout)
    /// has expired.
    Timeout,
    /// 500: a function of the application panicked, such as the filter.
    Internal,
    /// 501: the HTTP server does not support upgrades of this request.
    NotUpgradable,
    /// 503: the server is draining and accepts no new connections.
    ShuttingDown,
    /// 503: as many connections are open as
    /// [`ConnectionLimits::connections`](crate::handler::ConnectionLimits::connections) allows.
    TooManyConnections,
    /// 503: more bytes are queued than
    /// [`ConnectionLimits::queued_bytes`](crate::handler::ConnectionLimits::queued_bytes) allows.
    TooManyQueuedBytes,
    /// 429: as many connections are open from this address as
    /// [`ConnectionLimits::per_address`](crate::handler::ConnectionLimits::per_address) allows.
    TooManyFromAddress,
    /// 429: as many connections are open for this user as
    /// [`ConnectionLimits::per_key`](crate::handler::ConnectionLimits::per_key) allows.
    TooManyOfKey,
    /// 429: more handshakes came from this address than
    /// [`ConnectionLimits::handshakes_per_second`](crate::handler::ConnectionLimits::handshakes_per_second)
    /// allows.
    TooManyHandshakes,
}

impl_error!(Rejection {
    Self::HttpTooOld => "a WebSocket needs HTTP/1.1";
    Self::HttpTooNew => "a WebSocket over this version of HTTP is not supported here: use HTTP/1.1 or 2";
    Self::NotUpgrade => "only WebSockets here: send `Connection: Upgrade` and `Upgrade: websocket`";
    Self::NotConnect => "only WebSockets here: over HTTP/2, send an extended CONNECT";
    Self::ProtocolUnknown => "only WebSockets here: send `:protocol = websocket`";
    Self::Filtered => "there is no WebSocket here for this request";
    Self::Method => "the method of an opening handshake is GET";
    Self::VersionMissing => "`Sec-WebSocket-Version` is missing: send 13";
    Self::VersionRepeated => "`Sec-WebSocket-Version` is repeated: send one";
    Self::VersionUnsupported => "this `Sec-WebSocket-Version` is not supported: send 13";
    Self::ConnectVersionUnsupported => "this `Sec-WebSocket-Version` is not supported: send 13";
    Self::KeyMissing => "`Sec-WebSocket-Key` is missing: send 16 random bytes in base64";
    Self::KeyRepeated => "`Sec-WebSocket-Key` is repeated: send one";
    Self::KeyInvalid => "`Sec-WebSocket-Key` is invalid: send 16 random bytes in base64";
    Self::HostMissing => "`Host` is missing";
    Self::HostRepeated => "`Host` is repeated: send one";
    Self::HostInvalid => "`Host` is invalid: send a host, and its port unless it is the default";
    Self::TargetInvalid => "the target of the request has no path";
    Self::Body => "an opening handshake has no body: leave out its length and transfer encoding";
    Self::OriginMissing => "`Origin` is missing";
    Self::OriginRepeated => "`Origin` is repeated: send one";
    Self::OriginRefused { origin, host } =>
        "the `Origin` {} is not allowed for the host {}: the server allows it by \
         `AcceptOptions::origin`, for example with `Origin::patterns`",
        Escaped::new(&**origin), Escaped::new(&**host);
    Self::SubprotocolsMalformed => "`Sec-WebSocket-Protocol` is malformed: send a list of different tokens";
    Self::SubprotocolRequired => "a subprotocol is required: `Sec-WebSocket-Protocol` names none that is spoken here";
    Self::HeadMalformed => "the head of the request is malformed";
    Self::HeadTooLarge => "the head of the request is too large";
    Self::Timeout => "the opening handshake took too long";
    Self::Internal => "something went wrong here";
    Self::NotUpgradable => "this connection cannot be upgraded";
    Self::ShuttingDown => "the server is shutting down: come back later";
    Self::TooManyConnections => "the server is full: come back later";
    Self::TooManyQueuedBytes => "the server is overloaded: come back later";
    Self::TooManyFromAddress => "too many connections from this address";
    Self::TooManyOfKey => "too many connections of this user";
    Self::TooManyHandshakes => "too many handshakes from this address: slow down";
});

impl Rejection {
    /// The refusal of a page, for the host that its request has asked for.
    pub(super) fn origin_refused(origin: Option<&HeaderValue>, host: Option<&str>) -> Self {
        let origin = origin.map(|origin| String::from_utf8_lossy(origin.as_bytes()));
        let shown = |text: Option<&str>| Redacted(text.unwrap_or_default()).to_string().into();
        Self::OriginRefused { origin: shown(origin.as_deref()), host: shown(host) }
    }

    /// The name of the reason, in snake case.
    #[cfg(feature = "conn")]
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::HttpTooOld => "http_too_old",
            Self::HttpTooNew => "http_too_new",
            Self::NotUpgrade => "not_upgrade",
            Self::NotConnect => "not_connect",
            Self::ProtocolUnknown => "protocol_unknown",
            Self::Filtered => "filtered",
            Self::Method => "method",
            Self::VersionMissing => "version_missing",
            Self::VersionRepeated => "version_repeated",
            Self::VersionUnsupported | Self::ConnectVersionUnsupported => "version_unsupported",
            Self::KeyMissing => "key_missing",
            Self::KeyRepeated => "key_repeated",
            Self::KeyInvalid => "key_invalid",
            Self::HostMissing => "host_missing",
            Self::HostRepeated => "host_repeated",
            Self::HostInvalid => "host_invalid",
            Self::TargetInvalid => "target_invalid",
            Self::Body => "body",
            Self::OriginMissing => "origin_missing",
            Self::OriginRepeated => "origin_repeated",
            Self::OriginRefused { .. } => "origin_refused",
            Self::SubprotocolsMalformed => "subprotocols_malformed",
            Self::SubprotocolRequired => "subprotocol_required",
            Self::HeadMalformed => "head_malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::NotUpgradable => "not_upgradable",
            Self::ShuttingDown => "shutting_down",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyQueuedBytes => "too_many_queued_bytes",
            Self::TooManyFromAddress => "too_many_from_address",
            Self::TooManyOfKey => "too_many_of_key",
            Self::TooManyHandshakes => "too_many_handshakes",
        }
    }

    /// Whether a setting or the state of the server refuses a well-formed handshake. `false` for a
    /// handshake that is malformed, too late, or refused by a shutdown.
    #[cfg(feature = "conn")]
    pub(crate) const fn is_policy(&self) -> bool {
        matches!(
            self,
            Self::OriginMissing
                | Self::OriginRepeated
                | Self::OriginRefused { .. }
                | Self::SubprotocolRequired
                | Self::Internal
                | Self::NotUpgradable
                | Self::TooManyConnections
                | Self::TooManyQueuedBytes
                | Self::TooManyFromAddress
                | Self::TooManyOfKey
                | Self::TooManyHandshakes
        )
    }

    /// The HTTP status to answer with.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::VersionMissing
            | Self::VersionRepeated
            | Self::ConnectVersionUnsupported
            | Self::KeyMissing
            | Self::KeyRepeated
            | Self::KeyInvalid
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostInvalid
            | Self::TargetInvalid
            | Self::Body
            | Self::SubprotocolsMalformed
            | Self::SubprotocolRequired
            | Self::HeadMalformed => StatusCode::BAD_REQUEST,
            Self::OriginMissing | Self::OriginRepeated | Self::OriginRefused { .. } => {
                StatusCode::FORBIDDEN
            }
            Self::Filtered => StatusCode::NOT_FOUND,
            Self::Method | Self::NotConnect => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::HttpTooOld | Self::NotUpgrade | Self::VersionUnsupported => {
                StatusCode::UPGRADE_REQUIRED
            }
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::HttpTooNew | Self::ProtocolUnknown | Self::NotUpgradable => {
                StatusCode::NOT_IMPLEMENTED
            }
            Self::ShuttingDown | Self::TooManyConnections | Self::TooManyQueuedBytes => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooManyFromAddress | Self::TooManyOfKey | Self::TooManyHandshakes => {
                StatusCode::TOO_MANY_REQUESTS
            }
        }
    }

    /// Whether another route may serve the request: it does not ask for a WebSocket, or the
    /// [filter](super::AcceptOptions::filter) does not accept it. Adapters pass such a request on.
    pub const fn falls_through(&self) -> bool {
        matches!(
            self,
            Self::HttpTooOld
                | Self::HttpTooNew
                | Self::NotUpgrade
                | Self::NotConnect
                | Self::ProtocolUnknown
                | Self::Filtered
        )
    }

    /// The headers for the status: the protocol to upgrade to, the version, the method, or the time
    /// to wait before another attempt (`Retry-After`).
    pub fn headers(&self) -> HeaderMap {
        let hints: &[(HeaderName, &str)] = match (self, self.status()) {
            (_, StatusCode::UPGRADE_REQUIRED) => {
                &[(UPGRADE, "websocket"), (CONNECTION, "Upgrade"), (SEC_WEBSOCKET_VERSION, "13")]
            }
            (Self::VersionMissing | Self::VersionRepeated | Self::ConnectVersionUnsupported, _) => {
                &[(SEC_WEBSOCKET_VERSION, "13")]
            }
            // Then all that was counted is too old.
            (Self::TooManyHandshakes, _) => &[(RETRY_AFTER, "2")],
            (
                Self::ShuttingDown
                | Self::TooManyConnections
                | Self::TooManyQueuedBytes
                | Self::TooManyFromAddress
                | Self::TooManyOfKey,
                _,
            ) => &[(RETRY_AFTER, "10")],
            (Self::NotConnect, _) => &[(ALLOW, "CONNECT")],
            (_, StatusCode::METHOD_NOT_ALLOWED) => &[(ALLOW, "GET")],
            _ => &[],
        };
        let hints = hints.iter().cloned();
        hints.map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
    }

    /// The response, with the reason as plain text.
    pub fn into_response(self) -> Response<String> {
        let mut response = Response::new(self.to_string());
        *response.status_mut() = self.status();
        *response.headers_mut() = self.headers();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        response
    }
}
