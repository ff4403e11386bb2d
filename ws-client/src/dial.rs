//! What does a client connect to, and how?

use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, ORIGIN, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::{Compression, Config, Conn, Keepalive};

use crate::opening::Opening;
use crate::patience::Patience;
use crate::target::Target;
use crate::{DialError, Dialer, InvalidHeader, InvalidUrl, over_client, over_stream};

/// Opens a WebSocket: what to connect to, and how. The settings chain by value.
///
/// A mistake in the settings is told by [`connect`](Self::connect), before anything is
/// sent. A clone can be dialled again, with a new key.
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
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `connect`"]
pub struct Dial {
    target: Result<Target, InvalidUrl>,
    headers: Result<HeaderMap, InvalidHeader>,
    subprotocols: Vec<String>,
    config: Config,
    timeout: Option<Duration>,
    via: Via,
    max_redirects: usize,
}

/// Who makes the connection?
#[derive(Clone, Debug)]
enum Via {
    Dialer(Dialer),
    Client(reqwest::Client),
}

impl Dial {
    /// A WebSocket to a `ws` or `wss` URL; `http` and `https` mean the same.
    ///
    /// A user and a password in it become an `Authorization` header. It must not have a
    /// fragment ([RFC 6455 §3]).
    ///
    /// [RFC 6455 §3]: https://www.rfc-editor.org/rfc/rfc6455#section-3
    pub fn new(url: impl AsRef<str>) -> Self {
        Self {
            target: Target::parse(url.as_ref()),
            headers: Ok(HeaderMap::new()),
            subprotocols: Vec::new(),
            config: Config::new(),
            timeout: Some(Duration::from_secs(30)),
            via: Via::Dialer(Dialer::shared()),
            max_redirects: 10,
        }
    }

    /// One more header for the request. Default: none but those of the opening handshake,
    /// which are `Host` and what cannot be set here: `Connection`, `Upgrade`,
    /// `Sec-WebSocket-*`, and headers that announce a body.
    ///
    /// A `Host` takes the place of the one in the URL. An `Authorization` does so with
    /// the user in the URL.
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

    /// The page that the connection is for, as `https://example.com`: what a browser sends,
    /// and some servers insist on ([RFC 6455 §10.2]). Default: none.
    ///
    /// [RFC 6455 §10.2]: https://www.rfc-editor.org/rfc/rfc6455#section-10.2
    pub fn origin(mut self, origin: impl TryInto<HeaderValue>) -> Self {
        self.headers = self.headers.and_then(|mut headers| {
            let (name, value) = header(ORIGIN, origin)?;
            headers.insert(name, value);
            Ok(headers)
        });
        self
    }

    /// The subprotocols to offer, the preferred one first. Default: none.
    ///
    /// The server may choose one, or none: [`Conn::subprotocol`] tells. It must not choose
    /// another one.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// The settings of the connection. Default: [`Config::new`].
    ///
    /// They include compression and the read limit, so this undoes a
    /// [`compression`](Self::compression) or [`read_limit`](Self::read_limit) that was set
    /// before. [`Config::nodelay`] is for given streams; others that are dialled here never
    /// delay, and those of a given client are its own.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Whether to offer compression, and how to compress. Default: off. Short for
    /// [`Config::compression`].
    pub fn compression(mut self, compression: Compression) -> Self {
        self.config = self.config.compression(compression);
        self
    }

    /// The longest message to accept, in bytes, after decompression. Default: 1 MiB. Short
    /// for [`Config::read_limit`].
    pub fn read_limit(mut self, bytes: usize) -> Self {
        self.config = self.config.read_limit(bytes);
        self
    }

    /// How long the whole opening may take: looking up the name, connecting, TLS, redirects,
    /// and the answer. Default: 30 s.
    pub const fn connect_timeout(mut self, after: Duration) -> Self {
        self.timeout = Some(after);
        self
    }

    /// The opening may take for ever.
    pub const fn no_connect_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// How many redirects to follow. Default: 10.
    ///
    /// They lead to `ws`, `wss`, `http` or `https`, but never from TLS to where there is
    /// none. `Authorization`, `Cookie` and `Host` are not sent to another server. A
    /// [given client](Self::client) follows redirects as it was built to, and a given
    /// stream none.
    pub const fn max_redirects(mut self, max: usize) -> Self {
        self.max_redirects = max;
        self
    }

    /// How to get to the server: TLS, proxies, and whether sockets share connections of
    /// HTTP/2. Default: one that is shared by all dials of the process, as
    /// [`Dialer::new`] makes it.
    ///
    /// It takes the place of a [`client`](Self::client).
    pub fn dialer(mut self, dialer: &Dialer) -> Self {
        self.via = Via::Dialer(dialer.clone());
        self
    }

    /// An HTTP client to open the connection with, in place of a [`dialer`](Self::dialer):
    /// one that keeps cookies, finds addresses, or does anything else in its own way.
    ///
    /// Build it with [`http1_only`](reqwest::ClientBuilder::http1_only): one that agrees on
    /// HTTP/2 with the server cannot upgrade, and gives [`DialError::Http2`]. Its timeouts
    /// bound the opening, and not the connection.
    ///
    /// Such a client keeps its streams to itself, so they carry messages somewhat slower.
    /// To `ws` through a proxy of HTTP it does not `CONNECT`, and few proxies pass the
    /// request on.
    pub fn client(mut self, client: reqwest::Client) -> Self {
        self.via = Via::Client(client);
        self
    }

    /// Connects.
    ///
    /// The answer of the server is kept: [`Conn::response`].
    ///
    /// # Errors
    ///
    /// Which step failed, and what to change. A server that answers otherwise than with a
    /// WebSocket gives [`DialError::Refused`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the opening up.
    pub async fn connect(self) -> Result<Conn, DialError> {
        let patience = Patience::new(self.timeout);
        let (max_redirects, via) = (self.max_redirects, self.via.clone());
        let opening = self.opening()?;
        // On the heap: this state would else be part of what uses the connection.
        Box::pin(async {
            match via {
                Via::Dialer(dialer) => dialer.connect(&opening, max_redirects, patience).await,
                Via::Client(client) => over_client::connect(&client, &opening, patience).await,
            }
        })
        .await
    }

    /// Connects over a given byte stream: a Unix socket, a tunnel, a TLS stream of one's
    /// own, a pipe in memory.
    ///
    /// The URL says what to ask for, and does not say where that is. `ws` or `wss` makes
    /// no difference: TLS is the stream's business. A `TcpStream` is recognised, and
    /// carries messages faster than any other stream.
    ///
    /// The head of the answer may have 16 KiB; what arrives behind it is kept.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), with [`DialError::Io`] when the stream fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the stream, and the opening with it.
    pub async fn connect_over<T>(self, io: T) -> Result<Conn, DialError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let patience = Patience::new(self.timeout);
        let opening = self.opening()?;
        Box::pin(over_stream::connect(io, &opening, patience)).await
    }

    /// The same, with pings that find a dead peer unless something else was said of them.
    pub(crate) fn with_keepalive(mut self) -> Self {
        self.config = self.config.default_keepalive(Keepalive::default());
        self
    }

    fn opening(self) -> Result<Opening, DialError> {
        Opening::new(self.target, self.headers, self.subprotocols, self.config)
    }
}

/// Reads a header that an application may set.
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

/// Does the header belong to the opening handshake, or announce a body, whose bytes would
/// be taken for frames?
fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-websocket-")
        || [CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}
