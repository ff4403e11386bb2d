//! Is a request a good opening handshake, and what is the answer?

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE,
};
use http::{Response, StatusCode};

use super::subprotocol::{Choice, Selector};
use super::{Agreed, Opening, Origin, Rejection, SubprotocolOrder, compression, headers, key};
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
    filter: Option<Filter>,
    keep_request: bool,
    timeout: Option<Duration>,
    /// The options of the layers above, which are not used here.
    #[cfg(feature = "conn")]
    pub(crate) extensions: http::Extensions,
}

impl AcceptOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            config: Arc::new(Config::new().for_server()),
            origin: Origin::same_host(),
            subprotocols: Choice::default(),
            response_headers: HeaderMap::new(),
            filter: None,
            keep_request: true,
            timeout: Some(Duration::from_secs(10)),
            #[cfg(feature = "conn")]
            extensions: http::Extensions::new(),
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
    ///
    /// The list takes the place of an earlier one, and of a
    /// [selector](Self::subprotocol_selector).
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols.supported = names.into_iter().map(Into::into).collect();
        self.subprotocols.selector = None;
        self
    }

    /// Whose preference decides about the subprotocol. Default: the server's.
    pub fn subprotocol_order(mut self, order: SubprotocolOrder) -> Self {
        self.subprotocols.order = order;
        self
    }

    /// Chooses the subprotocol by a function of those that the client offers, in
    /// place of the list, until [`subprotocols`](Self::subprotocols) gives another. A
    /// choice that was not offered counts as none.
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

    /// Takes only the requests for which a function says `true`. The others are none of
    /// ours: adapters leave them to whatever else the application has for them, and
    /// answer 404 where there is nothing. Default: all.
    ///
    /// It is asked once about each request that wants a WebSocket, before anything else is
    /// checked.
    pub fn filter(mut self, filter: impl Fn(&Opening<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Filter(Arc::new(filter)));
        self
    }

    /// Takes all requests. For adapters, too, that have asked the filter by
    /// [`check`](Self::check), and do not want it asked again.
    pub fn no_filter(mut self) -> Self {
        self.filter = None;
        self
    }

    /// Whether the connection keeps the request that it began with, as
    /// [`Conn::request`](crate::Conn::request). Default: yes.
    pub const fn keep_request(mut self, keep: bool) -> Self {
        self.keep_request = keep;
        self
    }

    /// How long the opening handshake may take, from the arrival of the request to the
    /// stream of bytes that it becomes. Default: 10 s.
    ///
    /// On a bare stream, the request has to arrive within it too. Under an HTTP server it
    /// counts from when the adapter is given the request: what a handler does before it
    /// answers is within it, and one that takes longer answers 408.
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

    /// Does a connection keep its request?
    pub const fn keeps_request(&self) -> bool {
        self.keep_request
    }

    /// Answers a request: over HTTP/1.1 with 101 and the proof that its key was read
    /// (RFC 6455 §4.2.2), over HTTP/2 with 200 (RFC 8441 §5).
    ///
    /// # Errors
    ///
    /// Gives the first reason to refuse: no upgrade, filter, method, version, key, host,
    /// body, origin, subprotocol, in this order. An offer of compression is never
    /// one: a bad offer is declined. A panic in a function of the application, such as
    /// the filter, is [`Rejection::Internal`].
    pub fn answer<'a>(&self, request: impl Into<Opening<'a>>) -> Result<Accepted, Rejection> {
        let request = request.into();
        catch(|| self.judge(&request))
    }

    /// Says of a request what can be said before the origins and subprotocols are known.
    /// For adapters that are told these later, and ask [`answer`](Self::answer) then.
    ///
    /// # Errors
    ///
    /// Those of `answer` that do not depend on other options than the
    /// [`filter`](Self::filter).
    pub fn check<'a>(&self, request: impl Into<Opening<'a>>) -> Result<(), Rejection> {
        let request = request.into();
        catch(|| self.begin(&request).map(drop))
    }

    /// Is it ours, and well-formed? Gives the key, if it needs one.
    fn begin<'a>(&self, request: &Opening<'a>) -> Result<Option<&'a [u8]>, Rejection> {
        request.asks()?;
        if self.filter.as_ref().is_some_and(|Filter(takes)| !takes(request)) {
            return Err(Rejection::Filtered);
        }
        request.check()
    }

    fn judge(&self, request: &Opening<'_>) -> Result<Accepted, Rejection> {
        let key = self.begin(request)?;
        self.origin.judge(request)?;
        let subprotocol = self.subprotocols.choose(request.headers())?;
        let compression = compression::answer(request.headers(), self.config.compression);

        let mut response = Response::new(());
        *response.version_mut() = request.version();
        let answer = response.headers_mut();
        answer.clone_from(&self.response_headers);
        if let Some(subprotocol) = &subprotocol {
            headers::set(answer, SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        if let Some((extension, _)) = &compression {
            headers::set(answer, SEC_WEBSOCKET_EXTENSIONS, extension);
        }
        if let Some(key) = key {
            headers::set(answer, UPGRADE, "websocket");
            headers::set(answer, CONNECTION, "Upgrade");
            headers::set(answer, SEC_WEBSOCKET_ACCEPT, &key::accept(key));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
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

/// Asks functions of the application too, which may panic.
fn catch<T>(judge: impl FnOnce() -> Result<T, Rejection>) -> Result<T, Rejection> {
    panic::catch_unwind(AssertUnwindSafe(judge)).unwrap_or(Err(Rejection::Internal))
}

type Takes = dyn Fn(&Opening<'_>) -> bool + Send + Sync;

/// A function that says which requests are ours.
#[derive(Clone)]
struct Filter(Arc<Takes>);

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter(..)")
    }
}

/// Is the header one that only the handshake may set, or that a 101 may not have?
fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-websocket-")
        || [CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}
