//! Which opening handshakes does a server accept, and with which settings?

use core::net::SocketAddr;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};

use super::head_limit::HeadLimit;
use super::subprotocol_choice::{Selector, SubprotocolChoice, SubprotocolOrder};
use super::{Encrypted, HandshakeRequest, Origin, PeerAddr, TrustedProxies};
use crate::redact::Redacted;
use crate::{Compression, Config};

/// The settings of a server for opening handshakes and its connections. The setters can be chained,
/// in any order. An [`Acceptor`](super::Acceptor) applies them.
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
///
/// A clone shares the settings. A setter copies them if they are shared. `Debug` masks secrets, as
/// [`Redacted`] does.
#[derive(Clone, Debug)]
#[must_use]
pub struct AcceptOptions(Arc<AcceptSettings>);

#[derive(Clone, Debug)]
pub(super) struct AcceptSettings {
    /// The settings of the connections, with `compression` applied.
    pub(super) config: Arc<Config>,
    /// Overrides the setting in `config`, whichever is set first.
    compression: Option<Compression>,
    pub(super) origin: Origin,
    trusted_proxies: Option<TrustedProxies>,
    pub(super) subprotocols: SubprotocolChoice,
    pub(super) response_headers: ResponseHeaders,
    filter: Option<Filter>,
    keep_request: bool,
    timeout: Option<Duration>,
    pub(super) head: HeadLimit,
    /// The options of the layers above, which are not used here.
    #[cfg(feature = "conn")]
    extensions: http::Extensions,
}

impl AcceptOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self(Arc::new(AcceptSettings {
            config: Arc::new(Config::new().for_server()),
            compression: None,
            origin: Origin::same_host(),
            trusted_proxies: None,
            subprotocols: SubprotocolChoice::default(),
            response_headers: ResponseHeaders::default(),
            filter: None,
            keep_request: true,
            timeout: Some(Duration::from_secs(10)),
            head: HeadLimit::DEFAULT,
            #[cfg(feature = "conn")]
            extensions: http::Extensions::new(),
        }))
    }

    /// The settings of the connections. Default: [`Config::new`].
    ///
    /// Two settings have another default on a server: [`Config::keepalive`] is
    /// [`Keepalive::default`], and [`Config::write_timeout`] is 60 s. To turn them off, use
    /// [`Config::no_keepalive`] and [`Duration::MAX`].
    ///
    /// [`Keepalive::default`]: crate::Keepalive
    pub fn config(self, config: Config) -> Self {
        self.change(|settings| {
            let mut config = config.for_server();
            config.compression = settings.compression.unwrap_or(config.compression);
            settings.config = Arc::new(config);
        })
    }

    /// Whether to accept compression, and how to compress. Overrides [`Config::compression`].
    /// Default: the value of that setting.
    pub fn compression(self, compression: Compression) -> Self {
        self.change(|settings| {
            settings.compression = Some(compression);
            Arc::make_mut(&mut settings.config).compression = compression;
        })
    }

    /// Which web pages may connect. Default: [`Origin::same_host`].
    pub fn origin(self, origin: Origin) -> Self {
        self.change(|settings| settings.origin = origin)
    }

    /// The reverse proxies whose forwarding headers are trusted. Default: none, and forwarding
    /// headers are ignored.
    pub fn trusted_proxies(self, proxies: TrustedProxies) -> Self {
        self.change(|settings| settings.trusted_proxies = Some(proxies))
    }

    /// The supported subprotocols in order of preference. Names are compared exactly. Default:
    /// none.
    ///
    /// Replaces an earlier list. A [selector](Self::subprotocol_selector) takes precedence.
    pub fn subprotocols(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.change(|settings| {
            settings.subprotocols.supported = names.into_iter().map(Into::into).collect()
        })
    }

    /// Whose preference selects the subprotocol. Default: [`SubprotocolOrder::Server`].
    pub fn subprotocol_order(self, order: SubprotocolOrder) -> Self {
        self.change(|settings| settings.subprotocols.order = order)
    }

    /// Sets a function that selects one of the subprotocols that the client offers. It takes
    /// precedence over [`subprotocols`](Self::subprotocols). A result that was not offered counts
    /// as none.
    pub fn subprotocol_selector(
        self,
        select: impl Fn(&[&str]) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.change(|settings| settings.subprotocols.selector = Some(Selector(Arc::new(select))))
    }

    /// Removes the selector, so that [`subprotocols`](Self::subprotocols) applies.
    pub fn no_subprotocol_selector(self) -> Self {
        self.change(|settings| settings.subprotocols.selector = None)
    }

    /// Rejects clients that offer no supported subprotocol. Default: they are accepted without
    /// one.
    pub fn require_subprotocol(self) -> Self {
        self.change(|settings| settings.subprotocols.required = true)
    }

    /// Adds a header, such as a cookie, to the response with which the server accepts a request.
    /// Default: none.
    ///
    /// Headers of the handshake itself, and those that declare a body, are ignored.
    pub fn response_header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.change(|settings| {
            if !is_reserved(&name) {
                settings.response_headers.0.append(name, value);
            }
        })
    }

    /// Accepts only requests for which `filter` returns `true`. Adapters pass other requests to the
    /// next route, or respond with 404 if there is no other route. Default: all requests.
    ///
    /// The filter is called once for each request for a WebSocket, before other checks.
    pub fn filter(
        self,
        filter: impl Fn(&HandshakeRequest<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.change(|settings| settings.filter = Some(Filter(Arc::new(filter))))
    }

    /// Removes the filter, for adapters that have already applied it with
    /// [`check`](super::Acceptor::check).
    pub fn no_filter(self) -> Self {
        self.change(|settings| settings.filter = None)
    }

    /// Whether the connection keeps its request, as [`Conn::request`](crate::Conn::request).
    /// Default: yes.
    pub fn keep_request(self, keep: bool) -> Self {
        self.change(|settings| settings.keep_request = keep)
    }

    /// The timeout of the opening handshake, from the arrival of the request until the transport
    /// is upgraded. Default: 10 s.
    ///
    /// On a bare stream it includes the arrival of the request. Under an HTTP server it starts
    /// when the adapter receives the request, and includes the time until a handler upgrades it.
    /// A later upgrade is rejected with 408.
    pub fn handshake_timeout(self, after: Duration) -> Self {
        self.change(|settings| settings.timeout = Some(after))
    }

    /// Removes the timeout of the opening handshake.
    pub fn no_handshake_timeout(self) -> Self {
        self.change(|settings| settings.timeout = None)
    }

    /// The maximum size of the head of a request: its length in bytes, as HTTP/1.1 would send it,
    /// and the number of its headers. Default: 16 KiB and 100. A larger head is rejected with 431. More
    /// than 10,000 headers cannot be allowed.
    ///
    /// An HTTP server has limits of its own, and applies them first: those of `serve` in the
    /// adapters are the defaults of this setting. For larger heads, serve with `http_builder` of
    /// `ws-server-hyper`, and set its limits too.
    pub fn head_limit(self, bytes: usize, headers: usize) -> Self {
        // `HeaderMap` panics at 24,577.
        let headers = headers.min(10_000);
        self.change(|settings| settings.head = HeadLimit { bytes, headers })
    }

    /// The settings of the connections, shared by them.
    pub fn shared_config(&self) -> Arc<Config> {
        Arc::clone(&self.0.config)
    }

    /// The timeout of the opening handshake. `None`: no timeout.
    pub fn timeout(&self) -> Option<Duration> {
        self.0.timeout
    }

    /// Whether the connection keeps its request.
    pub fn keeps_request(&self) -> bool {
        self.0.keep_request
    }

    #[cfg(feature = "conn")]
    pub(crate) fn head(&self) -> HeadLimit {
        self.0.head
    }

    pub(super) fn settings(&self) -> &AcceptSettings {
        &self.0
    }

    /// The settings of other layers.
    #[cfg(feature = "conn")]
    pub(crate) fn extensions(&self) -> &http::Extensions {
        &self.0.extensions
    }

    /// Changes the settings of another layer.
    #[cfg(feature = "conn")]
    pub(crate) fn change_extensions(self, change: impl FnOnce(&mut http::Extensions)) -> Self {
        self.change(|settings| change(&mut settings.extensions))
    }

    fn change(mut self, change: impl FnOnce(&mut AcceptSettings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl AcceptSettings {
    /// The address of the client: that of the peer, or the one that trusted proxies name.
    pub(super) fn client(&self, request: &HandshakeRequest<'_>) -> Option<SocketAddr> {
        let PeerAddr(peer) = *request.extensions().get()?;
        let proxies = self.trusted_proxies.as_ref();
        Some(proxies.map_or(peer, |proxies| proxies.client(peer, request.headers())))
    }

    /// The host that the client has asked for, and its port unless it is the default.
    pub(super) fn host<'a>(&self, request: &HandshakeRequest<'a>) -> Option<&'a str> {
        let forwarded = || {
            let PeerAddr(peer) = *request.extensions().get()?;
            self.trusted_proxies.as_ref()?.host(peer, request.headers())
        };
        forwarded().or_else(|| request.host())
    }

    /// Whether the client has sent the request over TLS.
    pub(super) fn is_secure(&self, request: &HandshakeRequest<'_>) -> bool {
        let forwarded = || {
            let PeerAddr(peer) = *request.extensions().get()?;
            self.trusted_proxies.as_ref()?.is_secure(peer, request.headers())
        };
        forwarded().unwrap_or_else(|| request.extensions().get::<Encrypted>().is_some())
    }

    /// Whether the filter does not accept this request.
    pub(super) fn is_filtered(&self, request: &HandshakeRequest<'_>) -> bool {
        self.filter.as_ref().is_some_and(|Filter(takes)| !takes(request))
    }
}

impl_default!(AcceptOptions, Self::new());

type Takes = dyn Fn(&HandshakeRequest<'_>) -> bool + Send + Sync;

/// A function that selects requests.
#[derive(Clone)]
struct Filter(Arc<Takes>);

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter(..)")
    }
}

/// Headers that the application adds to responses, such as a cookie.
#[derive(Clone, Default)]
pub(super) struct ResponseHeaders(pub(super) HeaderMap);

/// Masks secrets.
impl fmt::Debug for ResponseHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Redacted(&self.0).fmt(f)
    }
}

/// Whether only the handshake may set this header, or a 101 response must not have it.
fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-websocket-")
        || [CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}
