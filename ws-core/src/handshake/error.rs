//! Why does a client reject the server's response to an opening handshake?

use http::StatusCode;

/// Why a response does not accept an [`Offer`](super::Offer).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The status is not 101, or not 200 over HTTP/2: a rejection, a redirect, or a request to
    /// authenticate.
    Status(StatusCode),
    /// `Upgrade` is not `websocket`, or lists more than that (RFC 6455 §4.1).
    Upgrade,
    /// `Connection` does not contain `Upgrade`.
    Connection,
    /// No `Sec-WebSocket-Accept`.
    AcceptMissing,
    /// More than one `Sec-WebSocket-Accept` (RFC 6455 §11.3.3).
    AcceptRepeated,
    /// `Sec-WebSocket-Accept` does not match the key. The response is from a cache, or not from a
    /// WebSocket server.
    AcceptWrong,
    /// `Sec-WebSocket-Extensions` does not follow its grammar (RFC 6455 §9.1).
    ExtensionsMalformed,
    /// The server chose an extension that was not offered.
    ExtensionNotOffered,
    /// The server chose `permessage-deflate` twice.
    ExtensionRepeated,
    /// The parameters of `permessage-deflate` are invalid, or exceed the offer (RFC 7692 §7.1).
    CompressionTerms,
    /// The server chose a subprotocol that was not offered.
    SubprotocolNotOffered,
    /// More than one `Sec-WebSocket-Protocol` (RFC 6455 §11.3.4).
    SubprotocolRepeated,
    /// The server answered with a TLS alert, as most TLS servers answer HTTP.
    TlsAlert,
    /// The head of the response is not HTTP.
    HeadMalformed,
    /// The head of the response exceeds [`MAX_HEAD`](super::head::MAX_HEAD) bytes or
    /// [`MAX_RESPONSE_HEADERS`](super::head::MAX_RESPONSE_HEADERS) headers.
    HeadTooLarge,
    /// The server sent more than [`MAX_INTERIM`](super::head::MAX_INTERIM) interim responses before
    /// the final one (RFC 9110 §15.2).
    TooManyInterim,
}

impl_error!(HandshakeError {
    Self::Status(why) => "the server responded with {why} instead of a WebSocket";
    Self::Upgrade => "the response has no `Upgrade: websocket`, or has more in it";
    Self::Connection => "the response has no `Connection: Upgrade`";
    Self::AcceptMissing => "the response has no `Sec-WebSocket-Accept`";
    Self::AcceptRepeated => "the response repeats `Sec-WebSocket-Accept`";
    Self::AcceptWrong => "`Sec-WebSocket-Accept` in the response does not match the key";
    Self::ExtensionsMalformed => "`Sec-WebSocket-Extensions` in the response is malformed";
    Self::ExtensionNotOffered => "the server chose an extension that was not offered";
    Self::ExtensionRepeated => "the server chose an extension twice";
    Self::CompressionTerms => "the server chose parameters of `permessage-deflate` that the offer does not allow";
    Self::SubprotocolNotOffered => "the server chose a subprotocol that was not offered";
    Self::SubprotocolRepeated => "the response repeats `Sec-WebSocket-Protocol`";
    Self::TlsAlert => "the server answered with TLS: is it wss:// rather than ws://?";
    Self::HeadMalformed => "the head of the response is malformed";
    Self::HeadTooLarge => "the head of the response is longer than 16 KiB, or has more than 256 headers";
    Self::TooManyInterim => "the server sent more than 8 interim (1xx) responses";
});
