//! How does one get through a proxy?

use std::future::{Ready, ready};
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use http::{HeaderValue, StatusCode, Uri};
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5};
use hyper_util::client::proxy::matcher::Intercept;
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

/// Gets through a proxy to a host.
pub(super) async fn connect(
    proxy: &Intercept,
    route: &Route,
    host: &str,
    port: u16,
) -> Result<(Transport, Option<SocketAddr>), DialError> {
    let unreachable = |error| ProxyError::Unreachable(Box::new(error));
    let tcp = reach(proxy.uri(), route).await.map_err(unreachable)?;
    let peer = tcp.peer_addr().ok();
    let io = match proxy.uri().scheme_str().unwrap_or_default() {
        "http" => tunnel(tcp, host, port, proxy.basic_auth()).await?,
        "https" => {
            let io = secure(tcp, proxy.uri(), route).await.map_err(unreachable)?;
            tunnel(io, host, port, proxy.basic_auth()).await?
        }
        scheme => Transport::Tcp(socks(scheme, proxy, tcp, host, port).await?),
    };
    Ok((io, peer))
}

/// Goes to the proxy itself.
async fn reach(proxy: &Uri, route: &Route) -> Result<TcpStream, DialError> {
    let default = match proxy.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => 1080,
    };
    let port = proxy.port_u16().unwrap_or(default);
    tcp::connect(proxy.host().unwrap_or_default(), port, route.local).await
}

/// Speaks TLS with the proxy itself.
async fn secure(tcp: TcpStream, proxy: &Uri, route: &Route) -> Result<Box<dyn Stream>, DialError> {
    let config = tls::config(route.tls.as_ref(), Alpn::HTTP1)?;
    Ok(tls::handshake(config, proxy.host().unwrap_or_default(), tcp).await?.0)
}

/// Asks a proxy of HTTP to connect (RFC 9110 §9.3.6).
///
/// hyper-util could do it, but keeps the status to itself, and drops what the server has
/// said by then.
async fn tunnel<T: Stream + Into<Transport> + 'static>(
    mut io: T,
    host: &str,
    port: u16,
    auth: Option<&HeaderValue>,
) -> Result<Transport, ProxyError> {
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
        return Ok(io.into());
    }
    let (read, write) = tokio::io::split(io);
    Ok(Transport::Other(Box::new(tokio::io::join(Cursor::new(rest).chain(read), write))))
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
