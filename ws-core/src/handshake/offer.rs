//! What does a client offer, and does the response accept the offer?

use std::fmt;

use http::header::{
    CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Response, StatusCode, Version};

use super::{
    HandshakeError, InvalidSubprotocol, Negotiated, compression, headers, key, subprotocol,
};
use crate::Compression;
use crate::redact::Redacted;

/// The offer of a client, with a new key. Use each offer for one request.
pub struct Offer {
    key: String,
    subprotocols: Vec<String>,
    compression: Compression,
}

/// Masks the subprotocols.
impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("subprotocols", &Redacted(&*self.subprotocols))
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

impl Offer {
    /// An offer of subprotocols, the preferred one first, and of compression.
    ///
    /// # Errors
    ///
    /// When a subprotocol is not a token, or is repeated.
    pub fn new(
        subprotocols: impl IntoIterator<Item = impl Into<String>>,
        compression: Compression,
    ) -> Result<Self, InvalidSubprotocol> {
        let subprotocols: Vec<_> = subprotocols.into_iter().map(Into::into).collect();
        subprotocol::check_subprotocols(&subprotocols)?;
        Ok(Self { key: key::generate(), subprotocols, compression })
    }

    /// The headers of the request, which is a `GET` over HTTP/1.1 (RFC 6455 §4.1).
    ///
    /// The caller adds `Host`, and `Origin` if needed.
    pub fn headers(&self) -> HeaderMap {
        let mut request = self.connect_headers();
        headers::set(&mut request, CONNECTION, "Upgrade");
        headers::set(&mut request, UPGRADE, "websocket");
        headers::set(&mut request, SEC_WEBSOCKET_KEY, &self.key);
        request
    }

    /// The headers of an extended CONNECT request over HTTP/2 with `:protocol` = `websocket`
    /// (RFC 8441 §5). They include no key.
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

    /// Checks that the response accepts this offer: over HTTP/1.1 by RFC 6455 §4.1, over HTTP/2
    /// by RFC 8441 §5.
    ///
    /// The server may choose no subprotocol and no compression.
    ///
    /// # Errors
    ///
    /// When the response does not accept the offer. The transport must then be closed, except
    /// after [`HandshakeError::Status`].
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
        let upgrade = headers::at_most_once(answer, UPGRADE, HandshakeError::Upgrade)?;
        if !upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
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
        let answer = headers::at_most_once(answer, SEC_WEBSOCKET_PROTOCOL, repeated)?;
        let Some(name) = answer else { return Ok(None) };
        let offered = self.subprotocols.iter().find(|offered| offered.as_bytes() == name);
        offered.cloned().map(Some).ok_or(HandshakeError::SubprotocolNotOffered)
    }
}
