//! How does a client connect: TLS, proxy, and shared HTTP/2 connections?

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

#[cfg(feature = "rustls-tls-manual-roots")]
use tokio_rustls::rustls::ClientConfig;
use ws_core::Conn;

use super::deadline::HandshakeDeadline;
use super::error::{MissingFeature, RedirectError};
use super::http1_connect;
#[cfg(feature = "http2")]
use super::http2::{Http2Fallback, Http2Pool};
use super::redirect::next;
use super::request::ClientHandshake;
#[cfg(any(feature = "native-tls", feature = "rustls-tls-manual-roots"))]
use super::transport::TlsSettings;
use super::transport::{self, Alpn, TransportConfig};
use super::url::HttpUrl;
use crate::DialError;

/// The TLS, proxy and HTTP/2 settings of [`Dial::dialer`](crate::Dial::dialer).
///
/// Clones share their HTTP/2 connections, and the list of servers that do not support WebSockets
/// over HTTP/2. A setter returns a dialer that shares neither. DNS lookups use the resolver of the
/// system, except for the names of [`resolve`](Self::resolve); a [`client`](crate::Dial::client) can
/// have its own resolver.
///
/// ```no_run
/// use ws_client::{Dial, Dialer};
///
/// # async fn dial() -> Result<(), ws_client::DialError> {
/// let dialer = Dialer::new()
///     .proxy("http://user:password@proxy.example:3128")
///     .proxy_except("localhost, .internal, 10.0.0.0/8");
/// let conn = Dial::new("wss://example.com/chat").dialer(&dialer).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "Connector")]
#[must_use = "pass it to `Dial::dialer`"]
pub struct Dialer {
    config: Arc<TransportConfig>,
    #[cfg(feature = "http2")]
    http2: Option<Arc<Http2Pool>>,
    /// The feature that a setting needs and that is not enabled.
    missing: Option<MissingFeature>,
}

impl Dialer {
    /// The defaults: HTTP/1.1, one connection for each WebSocket, the root certificates of the
    /// platform, and the proxies of the environment, which this call reads.
    pub fn new() -> Self {
        Self {
            config: Arc::default(),
            #[cfg(feature = "http2")]
            http2: None,
            missing: None,
        }
    }

    /// Sets the trusted root certificates and the client certificate, for TLS by rustls. Default:
    /// the roots of the [features](crate#features), no client certificate.
    ///
    /// The dialer replaces the ALPN protocols in the configuration. The configuration also applies
    /// to proxies with TLS.
    ///
    /// ```
    /// use ws_client::Dialer;
    /// use ws_client::rustls::{ClientConfig, RootCertStore};
    ///
    /// let mut roots = RootCertStore::empty();
    /// # // The tests enable two kinds of cryptography, so rustls cannot choose.
    /// # let _ = ws_client::rustls::crypto::aws_lc_rs::default_provider().install_default();
    /// # let root = Vec::<ws_client::rustls::pki_types::CertificateDer<'static>>::new();
    /// roots.add_parsable_certificates(root);
    /// let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    /// let dialer = Dialer::new().tls(config);
    /// ```
    #[cfg(feature = "rustls-tls-manual-roots")]
    pub fn tls(self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.change(|this| this.tls = TlsSettings::Rustls(config.into()))
    }

    /// Uses TLS by the library of the operating system with these settings, instead of
    /// [`tls`](Self::tls). They apply to proxies with TLS, too.
    ///
    /// With [`http2`](Self::http2), the settings have to offer the protocols by ALPN:
    /// `request_alpns(&["h2", "http/1.1"])`. They cannot be changed for one connection, so a server or a
    /// proxy that chooses HTTP/2 where HTTP/1.1 is needed fails the dial with [`DialError::Tls`]. Such is
    /// a server with HTTP/2, but without WebSockets over it.
    #[cfg(feature = "native-tls")]
    pub fn native_tls(self, connector: native_tls::TlsConnector) -> Self {
        self.change(|this| this.tls = TlsSettings::Native(connector))
    }

    /// Uses one proxy for all servers, except those of [`proxy_except`](Self::proxy_except).
    ///
    /// | scheme | protocol |
    /// | --- | --- |
    /// | `http://`, `https://` | `CONNECT`, the latter over TLS |
    /// | `socks5://`, `socks4://` | SOCKS; the client looks up names |
    /// | `socks5h://`, `socks4a://` | SOCKS; the proxy looks up names |
    ///
    /// The URL may contain a user and a password. If it is invalid, dialling fails with
    /// [`DialError::Proxy`]. Without the feature `proxy`, dialling fails with
    /// [`DialError::MissingFeature`], and the environment is ignored.
    ///
    /// Default: the environment. `HTTPS_PROXY`, else `ALL_PROXY`, for `wss`; `HTTP_PROXY`, else
    /// `ALL_PROXY`, for `ws`; none for the hosts in `NO_PROXY`. Lower-case names work too. A variable
    /// with another scheme than these is ignored.
    pub fn proxy(self, url: impl AsRef<str>) -> Self {
        #[cfg(feature = "proxy")]
        return self.change(|this| this.proxies.set_fixed(url.as_ref()));
        #[cfg(not(feature = "proxy"))]
        {
            let _ = url;
            Self { missing: Some(MissingFeature::Proxy), ..self }
        }
    }

    /// Sets the hosts for which [`proxy`](Self::proxy) is not used, in the format of
    /// `NO_PROXY`: domain names (with their subdomains), addresses and networks, separated by
    /// commas, or `*`. Default: none.
    pub fn proxy_except(self, hosts: impl AsRef<str>) -> Self {
        #[cfg(feature = "proxy")]
        return self.change(|this| this.proxies.set_exceptions(hosts.as_ref()));
        #[cfg(not(feature = "proxy"))]
        {
            let _ = hosts;
            self
        }
    }

    /// Uses no proxy, and ignores those of the environment.
    pub fn no_proxy(self) -> Self {
        #[cfg(feature = "proxy")]
        return self.change(|this| this.proxies.set_none());
        #[cfg(not(feature = "proxy"))]
        {
            Self { missing: self.missing.filter(|it| *it != MissingFeature::Proxy), ..self }
        }
    }

    /// Sets the local address to connect from. Default: the system chooses.
    pub fn local_address(self, address: IpAddr) -> Self {
        self.change(|this| this.local_address = Some(address))
    }

    /// Sets the addresses of a name, in place of those of the resolver: for tests, for a server that
    /// has no name yet, or for an application that has its own resolver. Default: none.
    ///
    /// They are tried as those of the resolver are, the families in turn: see
    /// [`Dial::connect`](crate::Dial::connect). A port of 0 stands for the port of the URL, and another
    /// one replaces it. The name is compared without regard to case; one that is not ASCII is written as
    /// `xn--…`. It stays the `Host` of the request, and the name that the certificate needs. A second
    /// call for the same name replaces the addresses. Without an address, dialling fails with
    /// [`DialError::Dns`].
    ///
    /// It applies to all names that this client looks up: those of servers, also after a redirect and
    /// for HTTP/2, and of proxies. An HTTP proxy, `socks5h` and `socks4a` look up the name of the server
    /// themselves.
    ///
    /// ```no_run
    /// use ws_client::{Dial, Dialer};
    ///
    /// # async fn dial() -> Result<(), ws_client::DialError> {
    /// let addresses = ["192.0.2.7:0", "192.0.2.8:0"].map(|it| it.parse().expect("an address"));
    /// let dialer = Dialer::new().resolve("chat.example.com", addresses);
    /// let conn = Dial::new("wss://chat.example.com/").dialer(&dialer).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "resolve_to_addrs")]
    pub fn resolve(
        self,
        name: impl AsRef<str>,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Self {
        let name = name.as_ref().to_ascii_lowercase();
        self.change(|this| {
            this.resolved.insert(name, addresses.into_iter().collect());
        })
    }

    /// Opens WebSockets as streams of HTTP/2 connections ([RFC 8441]), at most 256 on each.
    /// Default: off, since it has no advantage for a single WebSocket.
    ///
    /// Over TLS, ALPN selects the protocol, and the HTTP/2 settings of the server show whether it
    /// supports extended CONNECT. If not, the WebSocket is opened over HTTP/1.1, on its own
    /// connection, and the dialer remembers the server (at most 1,000 servers). `ws` URLs use
    /// HTTP/1.1.
    ///
    /// A server may support extended CONNECT, but not on every path: axum's `get(handler)` does
    /// not. If it responds with 405 or 501, with a `content-length` in a 2xx, or resets the stream
    /// with `HTTP_1_1_REQUIRED`, the WebSocket is opened over HTTP/1.1, and nothing is remembered.
    /// Any other refusal is returned as an error. A request that a new connection refuses before it
    /// is processed (`REFUSED_STREAM`, or GOAWAY without an error) is sent once more.
    ///
    /// While one dial connects to a server, others to the same server wait for its connection, at most
    /// five seconds. Then one of them makes a new connection, which the others share.
    ///
    /// An HTTP/2 connection is closed with the last of its WebSockets. It opens no new WebSocket
    /// after GOAWAY, after an error, or if it does not answer a ping within five seconds.
    ///
    /// Beyond the bound of [`Config`](ws_core::Config), a WebSocket that is not read holds up to 64 KiB,
    /// however short the DATA frames of the server are: then flow control stops the server. A connection
    /// holds up to 24 MiB of short frames for a moment, until they are moved. It ends with all of its
    /// WebSockets only if 32,768 of them wait for dials that have not finished.
    ///
    /// Without the feature `http2`, dialling fails with [`DialError::MissingFeature`].
    ///
    /// [RFC 8441]: https://www.rfc-editor.org/rfc/rfc8441
    pub fn http2(self) -> Self {
        #[cfg(feature = "http2")]
        return Self { http2: Some(Arc::new(Http2Pool::new(Http2Fallback::Http1))), ..self };
        #[cfg(not(feature = "http2"))]
        Self { missing: Some(MissingFeature::Http2), ..self }
    }

    /// As [`http2`](Self::http2), without the fallback to HTTP/1.1: dialling a server that does
    /// not support it fails with [`DialError::NoHttp2`]. `ws` URLs use HTTP/2 with prior
    /// knowledge.
    pub fn http2_only(self) -> Self {
        #[cfg(feature = "http2")]
        return Self { http2: Some(Arc::new(Http2Pool::new(Http2Fallback::Error))), ..self };
        #[cfg(not(feature = "http2"))]
        Self { missing: Some(MissingFeature::Http2), ..self }
    }

    /// The default dialer of [`Dial`](crate::Dial).
    pub(crate) fn shared() -> Self {
        static SHARED: OnceLock<Dialer> = OnceLock::new();
        SHARED.get_or_init(Self::new).clone()
    }

    /// Opens a connection, and follows redirects.
    pub(crate) async fn connect(
        &self,
        handshake: &ClientHandshake,
        deadline: HandshakeDeadline,
    ) -> Result<Conn, DialError> {
        if let Some(missing) = self.missing {
            return Err(missing.into());
        }
        let mut url = handshake.url.clone();
        let max = handshake.max_redirects;
        for _ in 0..=max {
            let response = match self.open(&url, handshake, deadline).await {
                Err(DialError::Refused(response)) if max > 0 => response,
                done => return done,
            };
            match next(&url, response.status, &response.headers)? {
                Some(next) => url = next,
                None => return Err(DialError::Refused(response)),
            }
        }
        Err(RedirectError::TooMany(max).into())
    }

    async fn open(
        &self,
        url: &HttpUrl,
        handshake: &ClientHandshake,
        deadline: HandshakeDeadline,
    ) -> Result<Conn, DialError> {
        #[cfg(feature = "http2")]
        if let Some(pool) = &self.http2 {
            return pool.open(&self.config, url, handshake, deadline).await;
        }
        let established = transport::connect(&self.config, url, Alpn::HTTP1, deadline).await?;
        http1_connect::over_transport(established, url, handshake, deadline).await
    }

    /// Changes a setting of this handle only, and drops its pool of HTTP/2 connections.
    fn change(mut self, change: impl FnOnce(&mut TransportConfig)) -> Self {
        change(Arc::make_mut(&mut self.config));
        #[cfg(feature = "http2")]
        {
            self.http2 = self.http2.map(|pool| Arc::new(pool.empty()));
        }
        self
    }
}

impl Default for Dialer {
    fn default() -> Self {
        Self::new()
    }
}
