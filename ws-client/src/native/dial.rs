//! Which settings does dialling a WebSocket have?

use std::fmt;
use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, ORIGIN, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use ws_core::adapter::report_handshake;
use ws_core::redact::Redacted;
use ws_core::{Compression, Config, Conn, Keepalive, Role};

use super::deadline::HandshakeDeadline;
use super::http1_connect;
use super::request::ClientHandshake;
use super::url::HttpUrl;
#[cfg(feature = "reqwest")]
use super::via_reqwest;
use crate::{DialError, Dialer, InvalidHeader, InvalidUrl};

/// Opens a WebSocket: the URL and the settings. The setters can be chained, in any order.
///
/// [`connect`](Self::connect) reports invalid settings before it sends anything. To dial several
/// times, dial clones: each dial has a new `Sec-WebSocket-Key`.
///
/// ```no_run
/// use std::time::Duration;
/// use ws_client::{Compression, Dial};
///
/// # async fn dial() -> Result<(), ws_client::DialError> {
/// let conn = Dial::new("wss://example.com/chat?room=1")
///     .header("authorization", "Bearer 7c2f")
///     .subprotocols(["chat.v2", "chat.v1"])
///     .compression(Compression::no_context_takeover())
///     .connect_timeout(Duration::from_secs(5))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// `Debug` masks secrets, as [`Redacted`] does.
#[derive(Clone)]
#[doc(alias = "client")]
#[doc(alias = "ClientBuilder")]
#[must_use = "nothing happens before `connect`"]
pub struct Dial {
    url: Result<HttpUrl, InvalidUrl>,
    headers: Result<HeaderMap, InvalidHeader>,
    origin: Option<HeaderValue>,
    subprotocols: Vec<String>,
    config: Config,
    /// These four take precedence over `config`, in whichever order they are set.
    compression: Option<Compression>,
    read_limit: Option<usize>,
    close_timeout: Option<Duration>,
    default_keepalive: Option<Keepalive>,
    timeout: Option<Duration>,
    connector: Connector,
    max_redirects: usize,
    redirect_headers: Vec<HeaderName>,
}

/// What makes the connection.
#[derive(Clone)]
enum Connector {
    Dialer(Dialer),
    #[cfg(feature = "reqwest")]
    Reqwest(reqwest::Client),
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialer(dialer) => dialer.fmt(f),
            #[cfg(feature = "reqwest")]
            // Its default headers and proxies may contain secrets.
            Self::Reqwest(_) => f.write_str("Client(..)"),
        }
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("url", &self.url)
            .field("headers", &self.headers.as_ref().map(Redacted))
            .field("origin", &self.origin)
            .field("subprotocols", &Redacted(&*self.subprotocols))
            .field("config", &self.config)
            .field("compression", &self.compression)
            .field("read_limit", &self.read_limit)
            .field("close_timeout", &self.close_timeout)
            .field("default_keepalive", &self.default_keepalive)
            .field("connect_timeout", &self.timeout)
            .field("connector", &self.connector)
            .field("max_redirects", &self.max_redirects)
            .field("redirect_headers", &self.redirect_headers)
            .finish()
    }
}

impl Dial {
    /// A WebSocket to a `ws` or `wss` URL; `http` and `https` mean the same.
    ///
    /// A user and a password in the URL become an `Authorization` header. The URL must not have a
    /// fragment ([RFC 6455 §3]). A link-local address may have a zone: the name or the number of a
    /// network interface, as in `ws://[fe80::1%25eth0]/` ([RFC 6874]). The zone selects the
    /// interface, and is not sent. A [`client`](Self::client) ignores the zone.
    ///
    /// [RFC 6874]: https://www.rfc-editor.org/rfc/rfc6874
    /// [RFC 6455 §3]: https://www.rfc-editor.org/rfc/rfc6455#section-3
    pub fn new(url: impl AsRef<str>) -> Self {
        Self {
            url: HttpUrl::parse(url.as_ref()),
            headers: Ok(HeaderMap::new()),
            origin: None,
            subprotocols: Vec::new(),
            config: Config::new(),
            compression: None,
            read_limit: None,
            close_timeout: None,
            default_keepalive: None,
            timeout: Some(Duration::from_secs(30)),
            connector: Connector::Dialer(Dialer::shared()),
            max_redirects: 10,
            redirect_headers: Vec::new(),
        }
    }

    /// Adds a header to the request. Default: only the headers of the opening handshake.
    ///
    /// `Host` and `Authorization` replace those of the URL. `Connection`, `Upgrade`,
    /// `Sec-WebSocket-*` and headers that declare a body are reserved, and fail with
    /// [`InvalidHeader::Reserved`].
    pub fn header(
        mut self,
        name: impl TryInto<HeaderName>,
        value: impl TryInto<HeaderValue>,
    ) -> Self {
        self.headers = self.headers.and_then(|mut headers| {
            let (name, value) = header(name, value)?;
            headers.append(name, value);
            Ok(headers)
        });
        self
    }

    /// Sets the `Origin` header, such as `https://example.com`. Browsers send it, and some
    /// servers require it ([RFC 6455 §10.2]). It replaces an `Origin` of
    /// [`header`](Self::header). Default: none.
    ///
    /// [RFC 6455 §10.2]: https://www.rfc-editor.org/rfc/rfc6455#section-10.2
    pub fn origin(mut self, origin: impl TryInto<HeaderValue>) -> Self {
        self.headers = self.headers.and_then(|headers| {
            self.origin = Some(header(ORIGIN, origin)?.1);
            Ok(headers)
        });
        self
    }

    /// Sets the subprotocols to offer, in order of preference. Default: none.
    ///
    /// The server may select one of them, or none: see [`Conn::subprotocol`]. If it selects
    /// another one, dialling fails.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the configuration of the connection. Default: [`Config::new`].
    ///
    /// [`compression`](Self::compression), [`read_limit`](Self::read_limit) and
    /// [`close_timeout`](Self::close_timeout) take precedence over it. [`Config::nodelay`] applies to [`connect_over`](Self::connect_over) only: TCP
    /// connections of a [`Dialer`] always set `TCP_NODELAY`, and those of a
    /// [`client`](Self::client) follow the settings of that client.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Offers compression (permessage-deflate). Default: [`Config::compression`], which is
    /// off.
    #[doc(alias = "permessage-deflate")]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Sets the maximum length of a received message in bytes, after decompression. Default:
    /// [`Limits::message_size`](crate::Limits::message_size), which is 1 MiB.
    #[doc(alias = "max_message_size")]
    pub fn read_limit(mut self, bytes: usize) -> Self {
        self.read_limit = Some(bytes);
        self
    }

    /// Sets how long the closing handshake may take. Default: [`Config::close_timeout`], which is
    /// 5 s.
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = Some(timeout);
        self
    }

    /// Sets the timeout of the whole opening handshake: DNS, TCP, proxy, TLS, redirects and
    /// the response. Default: 30 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Disables [`connect_timeout`](Self::connect_timeout).
    pub const fn no_connect_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// Sets how many redirects are followed. Default: 10. With 0, a redirect fails with
    /// [`DialError::Refused`].
    ///
    /// Redirects may lead to `ws`, `wss`, `http` and `https` URLs, but never from TLS to an
    /// unencrypted connection. The user of the URL, the headers of [`header`](Self::header) and the
    /// subprotocols are not sent to another origin: see [`redirect_headers`](Self::redirect_headers). A
    /// [`client`](Self::client) follows redirects by its own policy, and
    /// [`connect_over`](Self::connect_over) follows none.
    pub const fn max_redirects(mut self, max: usize) -> Self {
        self.max_redirects = max;
        self
    }

    /// Sets which headers of [`header`](Self::header) a redirect carries to another origin, besides
    /// [`origin`](Self::origin). Default: none, because they may be secrets. `Host` is never
    /// sent to another origin. With `sec-websocket-protocol`, the subprotocols are offered there, too.
    ///
    /// The `wss` URL of a host counts as the same origin as its `ws` URL if both use the default
    /// ports. An invalid name is reported as by `header`.
    pub fn redirect_headers(
        mut self,
        names: impl IntoIterator<Item = impl TryInto<HeaderName>>,
    ) -> Self {
        let names = names.into_iter().map(|name| name.try_into().or(Err(InvalidHeader::Name)));
        match names.collect() {
            Ok(names) => self.redirect_headers = names,
            Err(error) => self.headers = self.headers.and(Err(error)),
        }
        self
    }

    /// Connects with these TLS, proxy and HTTP/2 settings. Default: a [`Dialer::new`] that all
    /// dials of the process share.
    ///
    /// Replaces a [`client`](Self::client).
    pub fn dialer(mut self, dialer: &Dialer) -> Self {
        self.connector = Connector::Dialer(dialer.clone());
        self
    }

    /// Connects with a `reqwest` client, for its cookie store, its resolver or its other
    /// settings. Replaces a [`dialer`](Self::dialer).
    ///
    /// Build it with [`http1_only`](reqwest::ClientBuilder::http1_only): a client that
    /// negotiates HTTP/2 cannot upgrade, and fails with [`DialError::Http2`]. Its timeouts
    /// apply to the opening handshake, not to the connection.
    ///
    /// Messages are somewhat slower than with a `Dialer`, because `reqwest` does not give
    /// access to its TCP stream. For a `ws` URL and an HTTP proxy, `reqwest` does not use
    /// `CONNECT`, and few proxies forward such an upgrade.
    ///
    /// Needs the feature `reqwest`. The TLS, HTTP/2 and other features of `reqwest` are chosen in
    /// your own manifest.
    #[cfg(feature = "reqwest")]
    pub fn client(mut self, client: reqwest::Client) -> Self {
        self.connector = Connector::Reqwest(client);
        self
    }

    /// Connects. The response of the server is in [`Conn::response`].
    ///
    /// If a host has several addresses, an attempt to the next one starts every 250 ms, or when the
    /// previous one fails. The first attempt that succeeds is used ([RFC 8305]). The head of the
    /// response may have 16 KiB and 256 headers, after at most 8 interim responses. A
    /// [`client`](Self::client) has its own rules for both.
    ///
    /// [RFC 8305]: https://www.rfc-editor.org/rfc/rfc8305
    ///
    /// # Errors
    ///
    /// [`DialError`] has a variant for each step that can fail. [`DialError::Refused`] if the
    /// server responds with anything but a WebSocket.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the opening handshake.
    pub async fn connect(self) -> Result<Conn, DialError> {
        let began = Instant::now();
        let deadline = HandshakeDeadline::new(self.timeout);
        let connector = self.connector.clone();
        let handshake = self.into_handshake()?;
        // Boxed, so that the future of the caller stays small.
        let connected = Box::pin(async {
            match connector {
                Connector::Dialer(dialer) => dialer.connect(&handshake, deadline).await,
                #[cfg(feature = "reqwest")]
                Connector::Reqwest(client) => {
                    via_reqwest::connect(&client, &handshake, deadline).await
                }
            }
        });
        let conn = connected.await?;
        report_handshake(Role::Client, began);
        Ok(conn)
    }

    /// Connects over a byte stream: a Unix socket, a tunnel, a TLS stream, an in-memory pipe.
    ///
    /// The URL sets the request target and the `Host`; no connection is made to it. `ws` and `wss`
    /// mean the same here, because this call adds no TLS. A `TcpStream` is recognised, and carries
    /// messages faster than any other stream.
    ///
    /// Redirects are not followed.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); [`DialError::Io`] if the stream fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the opening handshake, and drops the stream.
    #[doc(alias = "from_stream")]
    pub async fn connect_over<T>(self, io: T) -> Result<Conn, DialError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let began = Instant::now();
        let deadline = HandshakeDeadline::new(self.timeout);
        let handshake = self.max_redirects(0).into_handshake()?;
        let conn = Box::pin(http1_connect::over_stream(io, &handshake, deadline)).await?;
        report_handshake(Role::Client, began);
        Ok(conn)
    }

    #[cfg(feature = "reconnect")]
    /// Enables keepalive pings, unless [`config`](Self::config) enables or disables them.
    pub(crate) fn default_keepalive(mut self) -> Self {
        self.default_keepalive = Some(Keepalive::default());
        self
    }

    fn into_handshake(self) -> Result<ClientHandshake, DialError> {
        let (url, mut headers) = (self.url?, self.headers?);
        if let Some(origin) = self.origin {
            headers.insert(ORIGIN, origin);
        }
        let mut config = self.config;
        if let Some(compression) = self.compression {
            config = config.compression(compression);
        }
        if let Some(bytes) = self.read_limit {
            let limits = config.limits_setting().message_size(bytes);
            config = config.limits(limits);
        }
        if let Some(timeout) = self.close_timeout {
            config = config.close_timeout(timeout);
        }
        if let Some(keepalive) = self.default_keepalive {
            config = config.default_keepalive(keepalive);
        }
        let redirects = (self.redirect_headers, self.max_redirects);
        ClientHandshake::new(url, headers, redirects, self.subprotocols, config)
    }
}

/// Checks a header of the application.
fn header(
    name: impl TryInto<HeaderName>,
    value: impl TryInto<HeaderValue>,
) -> Result<(HeaderName, HeaderValue), InvalidHeader> {
    let name = name.try_into().or(Err(InvalidHeader::Name))?;
    if is_reserved(&name) {
        return Err(InvalidHeader::Reserved(name));
    }
    let Ok(mut value) = value.try_into() else { return Err(InvalidHeader::Value(name)) };
    if [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(&name) {
        value.set_sensitive(true);
    }
    Ok((name, value))
}

/// Does the opening handshake set this header, or does it declare a body? The server would
/// take the frames of the connection for such a body.
fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-websocket-")
        || [CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}
