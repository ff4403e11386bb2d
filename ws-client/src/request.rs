//! What does the handshake request contain, and does the response accept it?

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::adapter::set_response;
use ws_core::handshake::{HandshakeError, Negotiated, Offer};
use ws_core::{Config, Conn, PeerAddr, Role};

use crate::error::DialError;
use crate::redirect;
use crate::url::HttpUrl;

/// The settings of an opening handshake, for all transports.
#[derive(Debug)]
pub(crate) struct ClientHandshake {
    pub(crate) url: HttpUrl,
    headers: HeaderMap,
    subprotocols: Vec<String>,
    config: Arc<Config>,
}

impl ClientHandshake {
    pub(crate) fn new(
        url: HttpUrl,
        headers: HeaderMap,
        subprotocols: Vec<String>,
        config: Config,
    ) -> Result<Self, DialError> {
        // Each request has its own offer. This one only validates the settings.
        Offer::new(&subprotocols, config.compression_setting())?;
        Ok(Self { url, headers, subprotocols, config: Arc::new(config) })
    }

    /// The offer and the other headers of a request to `url`.
    ///
    /// Credentials and `Host` are only sent to the server that they were set for.
    pub(crate) fn offer(&self, url: &HttpUrl) -> Result<(Offer, HeaderMap), DialError> {
        let offer = Offer::new(&self.subprotocols, self.config.compression_setting())?;
        let mut headers = self.headers.clone();
        redirect::withhold_credentials(&mut headers, url, &self.url);
        if let Some(basic) = url.authorization() {
            headers.entry(AUTHORIZATION).or_insert_with(|| basic.clone());
        }
        Ok((offer, headers))
    }

    /// The connection over a stream after the server has accepted.
    pub(crate) fn conn<T>(
        &self,
        io: T,
        leftover: Bytes,
        negotiated: Negotiated,
        mut response: Response<()>,
        peer: Option<SocketAddr>,
    ) -> Conn
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let conn =
            Conn::from_stream(io, Role::Client, negotiated, leftover, Arc::clone(&self.config));
        if let Some(peer) = peer {
            response.extensions_mut().insert(PeerAddr(peer));
        }
        set_response(&conn, response);
        conn
    }
}

/// Verifies a response. `None` if the server refused.
pub(crate) fn verify(
    offer: &Offer,
    response: &Response<()>,
) -> Result<Option<Negotiated>, HandshakeError> {
    match offer.verify(response) {
        Ok(negotiated) => Ok(Some(negotiated)),
        Err(HandshakeError::Status(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
