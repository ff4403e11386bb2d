//! How are connections made, and which of them are shared?

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::ClientConfig;
use ws_core::Conn;

use crate::DialError;
#[cfg(feature = "http2")]
use crate::http2::{Pool, Unwilling};
use crate::opening::Opening;
use crate::over_stream;
use crate::patience::Patience;
use crate::reach::{Alpn, Proxies, Route};
use crate::redirect::{RedirectError, next};
use crate::target::Target;

/// The way to servers: TLS, proxies, and connections of HTTP/2 that sockets share.
///
/// Names are looked up by the system; a [given client](crate::Dial::client) may have addresses
/// or a resolver of its own, and [`Dial::connect_over`](crate::Dial::connect_over) needs none.
///
/// A cheap handle. Clones of it share their connections, and what was found out about
/// servers; a setting that is changed begins anew. Given to [`Dial::dialer`](crate::Dial::dialer).
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
#[must_use = "it is for `Dial::dialer`"]
pub struct Dialer {
    route: Arc<Route>,
    #[cfg(feature = "http2")]
    http2: Option<Arc<Pool>>,
}

impl Dialer {
    /// The defaults: HTTP/1.1, a connection for each socket, trust in whom the platform
    /// trusts, and the proxies of the environment as they are now.
    pub fn new() -> Self {
        Self {
            route: Arc::default(),
            #[cfg(feature = "http2")]
            http2: None,
        }
    }

    /// Whom to trust, and which certificate to show. Default: the roots of the platform,
    /// and no certificate.
    ///
    /// The protocols in it (ALPN) are replaced by what [`http2`](Self::http2) asks for.
    /// It is used with proxies that speak TLS, too.
    ///
    /// ```
    /// use ws_client::Dialer;
    /// use ws_client::rustls::{ClientConfig, RootCertStore};
    ///
    /// let mut roots = RootCertStore::empty();
    /// # let root = Vec::<ws_client::rustls::pki_types::CertificateDer<'static>>::new();
    /// roots.add_parsable_certificates(root);
    /// let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    /// let dialer = Dialer::new().tls(config);
    /// ```
    pub fn tls(self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.change(|route| route.tls = Some(config.into()))
    }

    /// One proxy for all servers: `http://`, `https://` (asked to `CONNECT`), `socks5://`,
    /// `socks4://` (which are given addresses), `socks5h://` or `socks4a://` (which look
    /// up names themselves), with a user and a password if it wants them.
    ///
    /// Default: the environment's, for `wss` that of `HTTPS_PROXY` or else `ALL_PROXY`,
    /// for `ws` of `HTTP_PROXY` or else `ALL_PROXY`, but for hosts in `NO_PROXY`. Their
    /// names may be written in lower case.
    ///
    /// A URL that is none is told by [`Dial::connect`](crate::Dial::connect), as
    /// [`DialError::Proxy`].
    pub fn proxy(self, url: impl AsRef<str>) -> Self {
        self.change(|route| route.proxies = Proxies::one(url.as_ref()))
    }

    /// Hosts that are reached without the [`proxy`](Self::proxy) that was set, written as
    /// in `NO_PROXY`: names, which include all below them, addresses, networks, separated
    /// by commas, or `*`. Default: none.
    pub fn proxy_except(self, hosts: impl AsRef<str>) -> Self {
        self.change(|route| route.proxies.set_exceptions(hosts.as_ref()))
    }

    /// No proxy, whatever the environment says.
    pub fn no_proxy(self) -> Self {
        self.change(|route| route.proxies = Proxies::None)
    }

    /// The address at this end. Default: what the system chooses.
    pub fn local_address(self, address: IpAddr) -> Self {
        self.change(|route| route.local = Some(address))
    }

    /// Puts sockets into streams of HTTP/2 where the server allows it ([RFC 8441]), up to
    /// 256 of them on one connection. Default: off, since one socket alone gains nothing.
    ///
    /// Over TLS, the server is asked whether it speaks HTTP/2 (ALPN), and its first words
    /// whether it allows extended CONNECT. If not, the socket is opened over HTTP/1.1, on
    /// a connection of its own, and the server is remembered: it is not asked again, as
    /// long as one of at most 1,000 that are. `ws` goes by HTTP/1.1.
    ///
    /// A server may allow extended CONNECT, and have paths that know GET alone, as axum's
    /// `get(handler)` does: where one answers 405 or 501, the socket is opened over
    /// HTTP/1.1, and nothing is remembered. Any other refusal is the server's last word.
    ///
    /// A connection ends with the last of its sockets. One that the server wants to leave
    /// (GOAWAY), that has failed, or that does not answer a ping within five seconds, is
    /// given no further socket: a new one is made.
    ///
    /// [RFC 8441]: https://www.rfc-editor.org/rfc/rfc8441
    #[cfg(feature = "http2")]
    pub fn http2(mut self) -> Self {
        self.http2 = Some(Arc::new(Pool::new(Unwilling::Http1)));
        self
    }

    /// As [`http2`](Self::http2), but without HTTP/1.1 to fall back on: a server that
    /// does not allow it is [`DialError::NoHttp2`]. Over `ws` it is taken for granted
    /// that the server speaks HTTP/2 (prior knowledge).
    #[cfg(feature = "http2")]
    pub fn http2_only(mut self) -> Self {
        self.http2 = Some(Arc::new(Pool::new(Unwilling::Error)));
        self
    }

    /// The one for those who bring none.
    pub(crate) fn shared() -> Self {
        static SHARED: OnceLock<Dialer> = OnceLock::new();
        SHARED.get_or_init(Self::new).clone()
    }

    /// Opens a connection, at the end of up to `max_redirects`.
    pub(crate) async fn connect(
        &self,
        opening: &Opening,
        max_redirects: usize,
        patience: Patience,
    ) -> Result<Conn, DialError> {
        let mut target = opening.target.clone();
        let mut followed = 0;
        loop {
            match self.open(&target, opening, patience).await {
                Err(DialError::Refused(refusal)) => {
                    match next(&target, refusal.status, &refusal.headers)? {
                        None => return Err(DialError::Refused(refusal)),
                        Some(_) if followed == max_redirects => {
                            return Err(RedirectError::TooMany(max_redirects).into());
                        }
                        Some(next) => target = next,
                    }
                }
                done => return done,
            }
            followed += 1;
        }
    }

    async fn open(
        &self,
        target: &Target,
        opening: &Opening,
        patience: Patience,
    ) -> Result<Conn, DialError> {
        #[cfg(feature = "http2")]
        if let Some(pool) = &self.http2 {
            return pool.open(&self.route, target, opening, patience).await;
        }
        let reached = patience.wait(self.route.reach(target, Alpn::HTTP1)).await?;
        over_stream::connect_reached(reached, target, opening, patience).await
    }

    /// A change that clones do not see, and that connections made before know nothing of.
    fn change(mut self, change: impl FnOnce(&mut Route)) -> Self {
        change(Arc::make_mut(&mut self.route));
        #[cfg(feature = "http2")]
        {
            self.http2 = self.http2.map(|pool| Arc::new(pool.like()));
        }
        self
    }
}

impl Default for Dialer {
    fn default() -> Self {
        Self::new()
    }
}
