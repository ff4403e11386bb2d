//! What does a client ask for, and is the answer what it asked for?

use http::header::{
    CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Response, StatusCode, Version};

use super::{InvalidSubprotocol, Negotiated, compression, headers, key, subprotocol};
use crate::Compression;

/// What a client asks for, with a key of its own: one offer is for one request.
#[derive(Debug)]
pub struct Offer {
    key: String,
    subprotocols: Vec<String>,
    compression: Compression,
}

impl Offer {
    /// An offer of subprotocols, the preferred one first, and of compression.
    ///
    /// # Errors
    ///
    /// Fails when a subprotocol is not a token, or is there twice.
    pub fn new(
        subprotocols: impl IntoIterator<Item = impl Into<String>>,
        compression: Compression,
    ) -> Result<Self, InvalidSubprotocol> {
        let subprotocols: Vec<_> = subprotocols.into_iter().map(Into::into).collect();
        subprotocol::check(&subprotocols)?;
        Ok(Self { key: key::generate(), subprotocols, compression })
    }

    /// The headers of the request, which is a `GET` over HTTP/1.1 (RFC 6455 §4.1).
    ///
    /// `Host`, and `Origin` if wanted, are the caller's to add.
    pub fn headers(&self) -> HeaderMap {
        let mut request = self.connect_headers();
        headers::set(&mut request, CONNECTION, "Upgrade");
        headers::set(&mut request, UPGRADE, "websocket");
        headers::set(&mut request, SEC_WEBSOCKET_KEY, &self.key);
        request
    }

    /// The headers of the request where it is an extended CONNECT over HTTP/2, with
    /// `:protocol` = `websocket` (RFC 8441 §5). There is no key.
    pub fn connect_headers(&self) -> HeaderMap {
        let mut request = HeaderMap::new();
        headers::set(&mut request, SEC_WEBSOCKET_VERSION, "13");
        if !self.subprotocols.is_empty() {
            headers::set(&mut request, SEC_WEBSOCKET_PROTOCOL, &self.subprotocols.join(", "));
        }
        if let Some(extension) = compression::offer(self.compression) {
            headers::set(&mut request, SEC_WEBSOCKET_EXTENSIONS, &extension);
        }
        request
    }

    /// Checks that the response accepts this offer: over HTTP/1.1 as RFC 6455 §4.1 says,
    /// over HTTP/2 as RFC 8441 §5 does.
    ///
    /// No subprotocol and no compression in the answer is fine: then there is none.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the response. There is no connection then, and the
    /// transport has to be closed, unless it is the status that was another.
    pub fn verify<B>(&self, response: &Response<B>) -> Result<Negotiated, HandshakeError> {
        let answer = response.headers();
        match (response.version(), response.status()) {
            (Version::HTTP_2, StatusCode::OK) => {}
            (Version::HTTP_2, status) => return Err(HandshakeError::Status(status)),
            (_, StatusCode::SWITCHING_PROTOCOLS) => self.verify_upgrade(answer)?,
            (_, status) => return Err(HandshakeError::Status(status)),
        }
        let compression = compression::verify(answer, self.compression)?;
        Ok(Negotiated { subprotocol: self.verify_subprotocol(answer)?, compression })
    }

    fn verify_upgrade(&self, answer: &HeaderMap) -> Result<(), HandshakeError> {
        if !headers::has_token(answer, UPGRADE, "websocket") {
            return Err(HandshakeError::Upgrade);
        }
        if !headers::has_token(answer, CONNECTION, "upgrade") {
            return Err(HandshakeError::Connection);
        }
        match headers::at_most_once(answer, SEC_WEBSOCKET_ACCEPT, HandshakeError::AcceptRepeated)? {
            Some(accept) if accept == key::accept(self.key.as_bytes()).as_bytes() => Ok(()),
            Some(_) => Err(HandshakeError::AcceptWrong),
            None => Err(HandshakeError::AcceptMissing),
        }
    }

    fn verify_subprotocol(&self, answer: &HeaderMap) -> Result<Option<String>, HandshakeError> {
        let repeated = HandshakeError::SubprotocolRepeated;
        match headers::at_most_once(answer, SEC_WEBSOCKET_PROTOCOL, repeated)? {
            None => Ok(None),
            Some(name) => {
                let offered = self.subprotocols.iter().find(|offered| offered.as_bytes() == name);
                offered.cloned().map(Some).ok_or(HandshakeError::SubprotocolNotOffered)
            }
        }
    }
}

/// Why a response is not the answer to an [`Offer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Another status than 101, or than 200 over HTTP/2: a refusal, a redirect, a request
    /// to log in. The rest of the response says more.
    #[error("the server answered {0}, which is no WebSocket")]
    Status(StatusCode),
    /// `Upgrade` does not say `websocket`.
    #[error("the answer has no `Upgrade: websocket`")]
    Upgrade,
    /// `Connection` does not say `Upgrade`.
    #[error("the answer has no `Connection: Upgrade`")]
    Connection,
    /// No `Sec-WebSocket-Accept`.
    #[error("the answer has no `Sec-WebSocket-Accept`")]
    AcceptMissing,
    /// More than one `Sec-WebSocket-Accept` (RFC 6455 §11.3.3).
    #[error("the answer repeats `Sec-WebSocket-Accept`")]
    AcceptRepeated,
    /// `Sec-WebSocket-Accept` answers another key: a cache, or no WebSocket server.
    #[error("`Sec-WebSocket-Accept` in the answer does not belong to the key")]
    AcceptWrong,
    /// `Sec-WebSocket-Extensions` does not follow its grammar (RFC 6455 §9.1).
    #[error("`Sec-WebSocket-Extensions` in the answer is malformed")]
    ExtensionsMalformed,
    /// The answer has an extension that was not offered.
    #[error("the server chose an extension that was not offered")]
    ExtensionNotOffered,
    /// The answer has `permessage-deflate` twice.
    #[error("the server chose an extension twice")]
    ExtensionRepeated,
    /// The parameters of `permessage-deflate` are invalid, or go beyond what was
    /// offered (RFC 7692 §7.1).
    #[error("the server chose parameters of `permessage-deflate` that the offer does not allow")]
    CompressionTerms,
    /// The answer has a subprotocol that was not offered.
    #[error("the server chose a subprotocol that was not offered")]
    SubprotocolNotOffered,
    /// More than one `Sec-WebSocket-Protocol` (RFC 6455 §11.3.4).
    #[error("the answer repeats `Sec-WebSocket-Protocol`")]
    SubprotocolRepeated,
    /// The head of the response is not HTTP.
    #[error("the head of the answer is malformed")]
    HeadMalformed,
    /// The head of the response is longer than 16 KiB, or has more than 100 headers.
    #[error("the head of the answer is too large")]
    HeadTooLarge,
}
