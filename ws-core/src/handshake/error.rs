//! Why does a client reject the server's response to an opening handshake?

use http::StatusCode;

/// Why a response does not accept an [`Offer`](super::Offer).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The status is not 101, or not 200 over HTTP/2: a rejection, a redirect, or a request to
    /// authenticate.
    #[error("the server responded with {0} instead of a WebSocket")]
    Status(StatusCode),
    /// `Upgrade` is not `websocket`, or lists more than that (RFC 6455 §4.1).
    #[error("the response has no `Upgrade: websocket`, or has more in it")]
    Upgrade,
    /// `Connection` does not contain `Upgrade`.
    #[error("the response has no `Connection: Upgrade`")]
    Connection,
    /// No `Sec-WebSocket-Accept`.
    #[error("the response has no `Sec-WebSocket-Accept`")]
    AcceptMissing,
    /// More than one `Sec-WebSocket-Accept` (RFC 6455 §11.3.3).
    #[error("the response repeats `Sec-WebSocket-Accept`")]
    AcceptRepeated,
    /// `Sec-WebSocket-Accept` does not match the key. The response is from a cache, or not from a
    /// WebSocket server.
    #[error("`Sec-WebSocket-Accept` in the response does not match the key")]
    AcceptWrong,
    /// `Sec-WebSocket-Extensions` does not follow its grammar (RFC 6455 §9.1).
    #[error("`Sec-WebSocket-Extensions` in the response is malformed")]
    ExtensionsMalformed,
    /// The server chose an extension that was not offered.
    #[error("the server chose an extension that was not offered")]
    ExtensionNotOffered,
    /// The server chose `permessage-deflate` twice.
    #[error("the server chose an extension twice")]
    ExtensionRepeated,
    /// The parameters of `permessage-deflate` are invalid, or exceed the offer (RFC 7692 §7.1).
    #[error("the server chose parameters of `permessage-deflate` that the offer does not allow")]
    CompressionTerms,
    /// The server chose a subprotocol that was not offered.
    #[error("the server chose a subprotocol that was not offered")]
    SubprotocolNotOffered,
    /// More than one `Sec-WebSocket-Protocol` (RFC 6455 §11.3.4).
    #[error("the response repeats `Sec-WebSocket-Protocol`")]
    SubprotocolRepeated,
    /// The server answered with a TLS alert, as most TLS servers answer HTTP.
    #[error("the server answered with TLS: is it wss:// rather than ws://?")]
    TlsAlert,
    /// The head of the response is not HTTP.
    #[error("the head of the response is malformed")]
    HeadMalformed,
    /// The head of the response exceeds [`MAX_HEAD`](super::head::MAX_HEAD) bytes or
    /// [`MAX_RESPONSE_HEADERS`](super::head::MAX_RESPONSE_HEADERS) headers.
    #[error("the head of the response is longer than 16 KiB, or has more than 256 headers")]
    HeadTooLarge,
    /// The server sent more than [`MAX_INTERIM`](super::head::MAX_INTERIM) interim responses before
    /// the final one (RFC 9110 §15.2).
    #[error("the server sent more than 8 interim (1xx) responses")]
    TooManyInterim,
}
