//! What does a client ask for, and is the answer a connection?

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::handshake::Offer;
use ws_core::{Agreed, Compression, Config, Conn, HandshakeError, Role};

use crate::target::Target;
use crate::{DialError, InvalidHeader, InvalidUrl};

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
        let compression = config.wanted_compression();
        Ok(Self { target, headers, subprotocols, compression, config: Arc::new(config) })
    }

    /// The headers for a request to this target, and the offer that they make.
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
        headers.extend(offer.headers());
        Ok((offer, headers))
    }

    /// The connection over a stream on which the server has accepted.
    pub(crate) fn conn<T>(&self, io: T, agreed: Agreed, leftover: Bytes) -> Conn
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Conn::from_stream(io, Role::Client, agreed, leftover, Arc::clone(&self.config))
    }
}

/// What the server agreed to; `None` if it refused.
pub(crate) fn verify(
    offer: &Offer,
    response: &Response<()>,
) -> Result<Option<Agreed>, HandshakeError> {
    match offer.verify(response) {
        Ok(agreed) => Ok(Some(agreed)),
        Err(HandshakeError::Status(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
