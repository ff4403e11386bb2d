//! Is a request a good opening handshake, and what is the answer?

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};

use super::subprotocol::{Choice, Selector};
use super::{Agreed, Origin, Rejection, SubprotocolOrder, compression, headers, key};
use crate::{Compression, Config};

/// What a server accepts. They chain by value, and serve any number of requests.
///
/// ```
/// use ws_core::Compression;
/// use ws_core::handshake::{AcceptOptions, Origin};
///
/// let options = AcceptOptions::new()
///     .origin(Origin::patterns(["https://*.example.com"]))
///     .subprotocols(["chat.v2", "chat.v1"])
///     .compression(Compression::no_context_takeover());
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct AcceptOptions {
    config: Arc<Config>,
    origin: Origin,
    subprotocols: Choice,
    response_headers: HeaderMap,
    timeout: Option<Duration>,
}

impl AcceptOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            config: Arc::new(Config::new().for_server()),
            origin: Origin::same_host(),
            subprotocols: Choice::default(),
            response_headers: HeaderMap::new(),
            timeout: Some(Duration::from_secs(10)),
        }
    }

    /// The settings of the connections. Default: [`Config::new`], with keepalive, which
    /// a server has unless [`Config::no_keepalive`] says otherwise.
    ///
    /// They include compression, so this undoes a [`compression`](Self::compression)
    /// that was set before.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config.for_server());
        self
    }

    /// Whether to agree to compression, and how to compress. Default: off. Short
    /// for [`Config::compression`].
    pub fn compression(mut self, compression: Compression) -> Self {
        Arc::make_mut(&mut self.config).compression = compression;
        self
    }

    /// Which web pages may connect. Default: those of the same host.
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// The subprotocols that the server speaks, the preferred one first; names are
    /// compared exactly. Default: none.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols.supported = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whose preference decides about the subprotocol. Default: the server's.
    pub fn subprotocol_order(mut self, order: SubprotocolOrder) -> Self {
        self.subprotocols.order = order;
        self
    }

    /// Chooses the subprotocol by a function of those that the client offers, in
    /// place of the list. A choice that was not offered counts as none.
    pub fn subprotocol_selector(
        mut self,
        select: impl Fn(&[&str]) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.subprotocols.selector = Some(Selector(Arc::new(select)));
        self
    }

    /// Refuses clients that offer no subprotocol that the server speaks. Default:
    /// they are accepted without one.
    pub fn require_subprotocol(mut self) -> Self {
        self.subprotocols.required = true;
        self
    }

    /// One more header for the answer that accepts, such as a cookie. Default: none.
    ///
    /// Headers that belong to the handshake, or that announce a body, are left out.
    pub fn response_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if !is_reserved(&name) {
            self.response_headers.append(name, value);
        }
        self
    }

    /// How long the opening handshake may take, where the library reads it or waits
    /// for it. Default: 10 s.
    pub const fn handshake_timeout(mut self, after: Duration) -> Self {
        self.timeout = Some(after);
        self
    }

    /// An opening handshake may take for ever.
    pub const fn no_handshake_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// The settings of the connections, shared among them.
    pub fn shared_config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    /// How long the opening handshake may take; `None` for ever.
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Answers a request (RFC 6455 §4.2.2).
    ///
    /// # Errors
    ///
    /// Gives the first reason to refuse: no upgrade, method, version, key, host,
    /// body, origin, subprotocol, in this order. An offer of compression is never
    /// one: a bad offer is declined.
    pub fn answer<B>(&self, request: &Request<B>) -> Result<Accepted, Rejection> {
        let key = match request.version() {
            Version::HTTP_09 | Version::HTTP_10 => return Err(Rejection::HttpTooOld),
            Version::HTTP_11 => check_upgrade(request)?,
            // Extended CONNECT (RFC 8441) has its checks here: no key, and 200.
            _ => return Err(Rejection::HttpTooNew),
        };
        self.origin.judge(request)?;
        let subprotocol = self.subprotocols.choose(request.headers())?;
        let compression = compression::answer(request.headers(), self.config.compression);

        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let answer = response.headers_mut();
        answer.clone_from(&self.response_headers);
        headers::set(answer, UPGRADE, "websocket");
        headers::set(answer, CONNECTION, "Upgrade");
        headers::set(answer, SEC_WEBSOCKET_ACCEPT, &key::accept(key));
        if let Some(subprotocol) = &subprotocol {
            headers::set(answer, SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        if let Some((extension, _)) = &compression {
            headers::set(answer, SEC_WEBSOCKET_EXTENSIONS, extension);
        }
        let compression = compression.map(|(_, params)| params);
        Ok(Accepted { response, agreed: Agreed { subprotocol, compression } })
    }
}

impl Default for AcceptOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The answer to a good opening handshake.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// What to send to the client; the WebSocket begins behind it.
    pub response: Response<()>,
    /// What the connection starts with.
    pub agreed: Agreed,
}

/// Does the request ask for an upgrade to a WebSocket?
///
/// It may still be refused: this only tells it from other requests.
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && headers::has_token(request.headers(), CONNECTION, "upgrade")
        && headers::has_token(request.headers(), UPGRADE, "websocket")
}

/// Checks what does not depend on options, and gives the key (RFC 6455 §4.2.1).
fn check_upgrade<B>(request: &Request<B>) -> Result<&[u8], Rejection> {
    let once = |name, repeated| headers::at_most_once(request.headers(), name, repeated);
    if !is_upgrade(request) {
        return Err(Rejection::NotUpgrade);
    }
    if request.method() != Method::GET {
        return Err(Rejection::Method);
    }
    match once(SEC_WEBSOCKET_VERSION, Rejection::VersionRepeated)? {
        Some(b"13") => {}
        Some(_) => return Err(Rejection::VersionUnsupported),
        None => return Err(Rejection::VersionMissing),
    }
    let key = once(SEC_WEBSOCKET_KEY, Rejection::KeyRepeated)?.ok_or(Rejection::KeyMissing)?;
    if !key::is_valid(key) {
        return Err(Rejection::KeyInvalid);
    }
    once(HOST, Rejection::HostRepeated)?.ok_or(Rejection::HostMissing)?;
    let mut lengths = request.headers().get_all(CONTENT_LENGTH).into_iter();
    if lengths.any(|length| length != "0") || request.headers().contains_key(TRANSFER_ENCODING) {
        return Err(Rejection::Body);
    }
    Ok(key)
}

/// Is the header one that only the handshake may set, or that a 101 may not have?
fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-websocket-")
        || [CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}
