//! Which proxy is in the way, and how does one get through it?

use std::fmt;
use std::future::{Ready, ready};
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::uri::Scheme;
use http::{HeaderValue, StatusCode, Uri};
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tower_service::Service;

use super::tls::{self, Alpn};
use super::{Route, Stream, Transport, tcp};
use crate::error::Cause;
use crate::over_stream::exchange;
use crate::{DialError, InvalidUrl};

/// Why a proxy did not let us through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Its URL is none, or has a scheme that no proxy has. Nothing was sent.
    #[error("its URL cannot be used (`Dialer::proxy`)")]
    Url(#[source] InvalidUrl),
    /// It cannot be reached itself: the error says at which step.
    #[error("it cannot be reached")]
    Unreachable(#[source] Box<DialError>),
    /// It answered `CONNECT` with another status than 2xx: 407 where it wants to be told a
    /// user and a password, or others.
    #[error("it refused with {0}")]
    Refused(StatusCode),
    /// It refused otherwise, hung up, or is none.
    #[error("it did not make a tunnel")]
    Failed(#[source] Cause),
}

/// Which servers are behind which proxy?
#[derive(Clone)]
pub(crate) struct Proxies {
    matcher: Arc<Matcher>,
    /// The one that was set, with its exceptions, unless the environment's are used.
    set: Option<(Result<String, InvalidUrl>, String)>,
}

impl Proxies {
    /// One for all servers.
    pub(crate) fn one(url: &str) -> Self {
        let url = check(url).map(|()| url.to_owned());
        Self { set: Some((url, String::new())), ..Self::none() }.rebuild()
    }

    /// None at all.
    pub(crate) fn none() -> Self {
        Self { matcher: Matcher::builder().build().into(), set: None }
    }

    /// The hosts that are reached without the one that was set.
    pub(crate) fn set_exceptions(&mut self, hosts: &str) {
        if let Some((_, exceptions)) = &mut self.set {
            hosts.clone_into(exceptions);
        }
        *self = self.clone().rebuild();
    }

    /// The proxy on the way to this URL of HTTP.
    pub(super) fn intercept(&self, uri: &Uri) -> Result<Option<Intercept>, ProxyError> {
        if let Some((Err(error), _)) = &self.set {
            return Err(ProxyError::Url(error.clone()));
        }
        Ok(self.matcher.intercept(uri))
    }

    fn rebuild(mut self) -> Self {
        if let Some((Ok(url), exceptions)) = &self.set {
            let matcher = Matcher::builder().all(url.clone()).no(exceptions.clone());
            // To a matcher, all names are not all addresses.
            let has_all = exceptions.split(',').any(|host| host.trim() == "*");
            self.matcher = if has_all { Self::none().matcher } else { matcher.build().into() };
        }
        self
    }
}

/// Those of the environment, as it is now.
impl Default for Proxies {
    fn default() -> Self {
        Self { matcher: Matcher::from_system().into(), set: None }
    }
}

/// A URL may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("matcher", &self.matcher).finish_non_exhaustive()
    }
}

/// Is it the URL of a proxy? What is not would silently be none.
fn check(url: &str) -> Result<(), InvalidUrl> {
    let parsed = url::Url::parse(url)?;
    match parsed.scheme() {
        "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h" => {}
        other => return Err(InvalidUrl::Scheme(other.into())),
    }
    // Those who go there read it in a way of their own.
    let uri = url.parse::<Uri>().or(Err(InvalidUrl::Uri))?;
    if parsed.has_host() && uri.host().is_some() { Ok(()) } else { Err(InvalidUrl::Uri) }
}

/// Gets through a proxy to a host.
pub(super) async fn connect(
    proxy: &Intercept,
    route: &Route,
    host: &str,
    port: u16,
) -> Result<(Transport, Option<SocketAddr>), DialError> {
    let tcp = reach(proxy.uri(), route).await;
    let tcp = tcp.map_err(|error| ProxyError::Unreachable(Box::new(error)))?;
    let peer = tcp.peer_addr().ok();
    let auth = proxy.basic_auth();
    let scheme = proxy.uri().scheme_str().unwrap_or_default();
    let io = match scheme {
        "https" => {
            let name = proxy.uri().host().unwrap_or_default();
            let secured = async {
                let config = tls::config(route.tls.as_ref(), Alpn::HTTP1)?;
                tls::handshake(config, name, tcp).await
            };
            let (io, _) =
                secured.await.map_err(|error| ProxyError::Unreachable(Box::new(error)))?;
            match tunnel(io, host, port, auth).await? {
                Tunnel::Empty(io) => Transport::Other(io),
                Tunnel::Begun(io) => Transport::Other(io),
            }
        }
        "http" => match tunnel(tcp, host, port, auth).await? {
            Tunnel::Empty(tcp) => Transport::Tcp(tcp),
            Tunnel::Begun(io) => Transport::Other(io),
        },
        _ => Transport::Tcp(socks(scheme, proxy, tcp, host, port).await?),
    };
    Ok((io, peer))
}

/// Goes to the proxy itself.
async fn reach(proxy: &Uri, route: &Route) -> Result<TcpStream, DialError> {
    let default = match proxy.scheme_str() {
        _ if proxy.scheme() == Some(&Scheme::HTTP) => 80,
        _ if proxy.scheme() == Some(&Scheme::HTTPS) => 443,
        _ => 1080,
    };
    let port = proxy.port_u16().unwrap_or(default);
    tcp::connect(proxy.host().unwrap_or_default(), port, route.local).await
}

/// A stream through a proxy.
enum Tunnel<T> {
    Empty(T),
    /// The server has said something that came with the answer of the proxy.
    Begun(Box<dyn Stream>),
}

/// Asks a proxy of HTTP to connect (RFC 9110 §9.3.6).
///
/// hyper-util could do it, but keeps the status to itself, and drops what the server has
/// said by then.
async fn tunnel<T: Stream + 'static>(
    mut io: T,
    host: &str,
    port: u16,
    auth: Option<&HeaderValue>,
) -> Result<Tunnel<T>, ProxyError> {
    let mut head =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n").into_bytes();
    if let Some(auth) = auth {
        head.extend_from_slice(b"proxy-authorization: ");
        head.extend_from_slice(auth.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let (answer, rest) =
        exchange(&mut io, &head).await.map_err(|error| ProxyError::Failed(error.into()))?;
    if !answer.status().is_success() {
        return Err(ProxyError::Refused(answer.status()));
    }
    if rest.is_empty() {
        return Ok(Tunnel::Empty(io));
    }
    let (read, write) = tokio::io::split(io);
    Ok(Tunnel::Begun(Box::new(tokio::io::join(Cursor::new(rest).chain(read), write))))
}

/// Asks a proxy of SOCKS to connect.
async fn socks(
    scheme: &str,
    proxy: &Intercept,
    tcp: TcpStream,
    host: &str,
    port: u16,
) -> Result<TcpStream, DialError> {
    let there = match scheme {
        "socks4" | "socks5" => {
            tcp::address_uri(tcp::lookup(host, port, scheme == "socks4").await?)?
        }
        _ => tcp::uri(host, port)?,
    };
    let (given, proxy_uri) = (Given(Some(TokioIo::new(tcp))), proxy.uri().clone());
    let done = match scheme {
        "socks4" | "socks4a" => SocksV4::new(proxy_uri, given).call(there).await,
        _ => {
            let mut socks = SocksV5::new(proxy_uri, given);
            if let Some((user, password)) = proxy.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            socks.call(there).await
        }
    };
    let io = done.map_err(|error| ProxyError::Failed(error.into()))?;
    Ok(io.into_inner())
}

/// A connector that is there already.
struct Given<T>(Option<T>);

impl<T> Service<Uri> for Given<T> {
    type Response = T;
    type Error = io::Error;
    type Future = Ready<io::Result<T>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}
