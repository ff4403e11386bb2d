//! What does the handshake request contain, and does the response accept it?

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::adapter::set_response;
use ws_core::handshake::head::{MAX_HEAD, MAX_RESPONSE_HEADERS};
use ws_core::handshake::{HandshakeError, Negotiated, Offer};
use ws_core::{Config, Conn, PeerAddr, Role};

use super::error::DialError;
use super::redirect;
use super::url::HttpUrl;

/// The settings of an opening handshake, for all transports.
pub(crate) struct ClientHandshake {
    pub(crate) url: HttpUrl,
    headers: HeaderMap,
    /// The headers that a redirect carries to another origin.
    redirect_headers: Vec<HeaderName>,
    /// Zero means that a redirect is a refusal, whose body is read.
    pub(crate) max_redirects: usize,
    subprotocols: Vec<String>,
    config: Arc<Config>,
}

impl ClientHandshake {
    pub(crate) fn new(
        url: HttpUrl,
        headers: HeaderMap,
        (redirect_headers, max_redirects): (Vec<HeaderName>, usize),
        subprotocols: Vec<String>,
        config: Config,
    ) -> Result<Self, DialError> {
        #[cfg(not(feature = "deflate"))]
        if config.compression_setting().is_on() {
            return Err(crate::MissingFeature::Deflate.into());
        }
        // Each request has its own offer. This one only validates the settings.
        Offer::new(&subprotocols, config.compression_setting())?;
        let config = Arc::new(config);
        Ok(Self { url, headers, redirect_headers, max_redirects, subprotocols, config })
    }

    /// The offer and the other headers of a request to `url`.
    ///
    /// The headers and the subprotocols of the application are only sent to the server that they were set
    /// for, unless it allows more.
    pub(crate) fn offer(&self, url: &HttpUrl) -> Result<(Offer, HeaderMap), DialError> {
        let (allowed, first) = (&self.redirect_headers, &self.url);
        // They may carry a token.
        let may_offer = redirect::may_send(&SEC_WEBSOCKET_PROTOCOL, allowed, url, first);
        let subprotocols = if may_offer { &self.subprotocols[..] } else { &[] };
        let offer = Offer::new(subprotocols, self.config.compression_setting())?;
        let mut headers = self.headers.clone();
        redirect::withhold_headers(&mut headers, allowed, url, first);
        if let Some(basic) = url.authorization() {
            headers.entry(AUTHORIZATION).or_insert_with(|| basic.clone());
        }
        Ok((offer, headers))
    }

    /// Will the caller follow the redirect in this response?
    pub(crate) fn follows(&self, response: &Response<()>) -> bool {
        let location = || redirect::location(response.status(), response.headers());
        self.max_redirects > 0 && location().is_some()
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
    let headers = response.headers();
    let length = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    if headers.len() > MAX_RESPONSE_HEADERS || headers.iter().map(length).sum::<usize>() > MAX_HEAD
    {
        return Err(HandshakeError::HeadTooLarge);
    }
    match offer.verify(response) {
        Ok(negotiated) => Ok(Some(negotiated)),
        Err(HandshakeError::Status(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
