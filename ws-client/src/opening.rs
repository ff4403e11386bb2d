//! What does a client ask for, and is the answer a connection?

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::handshake::Offer;
use ws_core::handshake::{HandshakeError, Negotiated};
use ws_core::{Compression, Config, Conn, PeerAddr, Role};

use crate::target::Target;
use crate::{DialError, InvalidHeader, InvalidUrl, Refusal};

/// An opening handshake to be made, whatever carries it.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) target: Target,
    headers: HeaderMap,
    subprotocols: Vec<String>,
    compression: Compression,
    config: Arc<Config>,
}

impl Opening {
    pub(crate) fn new(
        target: Result<Target, InvalidUrl>,
        headers: Result<HeaderMap, InvalidHeader>,
        subprotocols: Vec<String>,
        config: Config,
    ) -> Result<Self, DialError> {
        let (target, headers) = (target?, headers?);
        let compression = config.compression_setting();
        // Each request has an offer of its own; a mistake is told before there is any.
        Offer::new(&subprotocols, compression)?;
        Ok(Self { target, headers, subprotocols, compression, config: Arc::new(config) })
    }

    /// An offer for a request to this target, and the headers beside it.
    ///
    /// What identifies the user stays with the server that it was meant for.
    pub(crate) fn ask(&self, target: &Target) -> Result<(Offer, HeaderMap), DialError> {
        let offer = Offer::new(&self.subprotocols, self.compression)?;
        let mut headers = self.headers.clone();
        if !target.may_know_secrets_of(&self.target) {
            for name in [AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION] {
                headers.remove(name);
            }
        }
        if let Some(basic) = target.authorization() {
            headers.entry(AUTHORIZATION).or_insert_with(|| basic.clone());
        }
        Ok((offer, headers))
    }

    /// The connection over a stream on which the server has accepted.
    pub(crate) fn conn<T>(
        &self,
        io: T,
        leftover: Bytes,
        agreed: Negotiated,
        mut response: Response<()>,
        peer: Option<SocketAddr>,
    ) -> Conn
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let conn = Conn::from_stream(io, Role::Client, agreed, leftover, Arc::clone(&self.config));
        if let Some(peer) = peer {
            response.extensions_mut().insert(PeerAddr(peer));
        }
        conn.set_response(response);
        conn
    }
}

/// What the server agreed to; `None` if it refused.
pub(crate) fn verify(
    offer: &Offer,
    response: &Response<()>,
) -> Result<Option<Negotiated>, HandshakeError> {
    match offer.verify(response) {
        Ok(agreed) => Ok(Some(agreed)),
        Err(HandshakeError::Status(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The answer of a server that refused.
pub(crate) fn refused(response: Response<()>, body: Bytes) -> DialError {
    let (head, ()) = response.into_parts();
    DialError::Refused(Box::new(Refusal { status: head.status, headers: head.headers, body }))
}
