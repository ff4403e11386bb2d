//! How is a connection made through a proxy?

use std::future::{Ready, ready};
use std::io::{self, Cursor, ErrorKind::NotConnected};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Uri;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tower_service::Service;

use super::happy_eyeballs;
use super::settings::TransportConfig;
use super::stream::{AsyncStream, Encrypted, TransportStream};
use super::tcp::{self, Host};
use super::tls::{Alpn, TlsClient};
use crate::native::error::{BoxError, failed_at};
use crate::native::http1::exchange;
use crate::native::http1_connect::shut_down;
use crate::{DialError, InvalidUrl, ProxyError, RefusedResponse};

/// Connects to a host through a proxy. Returns the stream and the address of the proxy.
pub(super) async fn connect(
    proxy: &Intercept,
    config: &TransportConfig,
    host: Host<'_>,
) -> Result<(TransportStream, Option<SocketAddr>), DialError> {
    let scheme = proxy.uri().scheme_str().unwrap_or_default();
    if !matches!(scheme, "http" | "https") {
        let tcp = socks(scheme, proxy, config, host).await?;
        let peer = tcp.peer_addr().ok();
        return Ok((TransportStream::Tcp(tcp), peer));
    }
    let tls = (scheme == "https").then(|| TlsClient::new(&config.tls, Alpn::HTTP1)).transpose();
    let tls = tls.map_err(unreachable)?;
    let tcp = connect_tcp(proxy.uri(), config).await?;
    let (peer, target) = (tcp.peer_addr().ok(), host.to_string());
    let io = match tls {
        None => tunnel(tcp, TransportStream::Tcp, &target, proxy).await?,
        Some(tls) => {
            let name = proxy.uri().host().unwrap_or_default();
            let Encrypted { io, .. } = tls.handshake(name, tcp).await.map_err(unreachable)?;
            tunnel(io, TransportStream::Boxed, &target, proxy).await?
        }
    };
    Ok((io, peer))
}

/// The host and the port of a proxy.
fn host_of(proxy: &Uri) -> Host<'_> {
    let default = match proxy.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => 1080,
    };
    let port = proxy.port_u16().unwrap_or(default);
    Host { name: proxy.host().unwrap_or_default(), zone: None, port }
}

/// Opens a TCP connection to the proxy.
async fn connect_tcp(proxy: &Uri, config: &TransportConfig) -> Result<TcpStream, ProxyError> {
    tcp::connect(host_of(proxy), config).await.map_err(unreachable)
}

fn failed(proxy: &Intercept, error: impl Into<BoxError>) -> ProxyError {
    ProxyError::Failed(failed_at(host_of(proxy.uri()).to_string(), error))
}

fn unreachable(error: DialError) -> ProxyError {
    ProxyError::Unreachable(Box::new(error))
}

/// Opens a tunnel through an HTTP proxy by `CONNECT` (RFC 9110 §9.3.6).
///
/// The `Tunnel` of hyper-util does not report the status, and drops bytes that arrive with
/// the response.
async fn tunnel<T: AsyncStream + 'static>(
    mut io: T,
    wrap: impl FnOnce(T) -> TransportStream,
    target: &str,
    proxy: &Intercept,
) -> Result<TransportStream, ProxyError> {
    let head = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
    let mut head = head.into_bytes();
    if let Some(auth) = proxy.basic_auth() {
        head.extend([b"proxy-authorization: ", auth.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let (answer, rest) = exchange(&mut io, &head).await.map_err(|error| failed(proxy, error))?;
    if !answer.status().is_success() {
        shut_down(&mut io).await;
        return Err(ProxyError::Refused(RefusedResponse::new(answer, Bytes::new())));
    }
    if rest.is_empty() {
        return Ok(wrap(io));
    }
    let (read, write) = tokio::io::split(io);
    Ok(TransportStream::Boxed(Box::new(tokio::io::join(Cursor::new(rest).chain(read), write))))
}

/// Opens a tunnel through a SOCKS proxy. For a proxy that takes no names, tries all addresses of the
/// host.
async fn socks(
    scheme: &str,
    proxy: &Intercept,
    config: &TransportConfig,
    host: Host<'_>,
) -> Result<TcpStream, DialError> {
    if !matches!(scheme, "socks4" | "socks5") {
        return socks_to(scheme, proxy, config, host.to_string()).await;
    }
    let addresses = tcp::lookup(host, config).await?;
    socks_to_any(scheme, proxy, config, addresses)
        .await
        .map_err(|error| error.unwrap_or_else(|| tcp::no_address(host.name)))
}

/// Opens a tunnel to the first address that can be reached. No error means that the proxy supports
/// none of the addresses.
async fn socks_to_any(
    scheme: &str,
    proxy: &Intercept,
    config: &TransportConfig,
    mut addresses: Vec<SocketAddr>,
) -> Result<TcpStream, Option<DialError>> {
    addresses.retain(|address| address.is_ipv4() || scheme != "socks4");
    let attempt = |address: SocketAddr| {
        let target = SocketAddr::new(address.ip(), address.port()).to_string();
        socks_to(scheme, proxy, config, target)
    };
    let done = happy_eyeballs::race(addresses, attempt).await;
    done.map_err(|mut errors| errors.pop().map(|(_, error)| error))
}

async fn socks_to(
    scheme: &str,
    proxy: &Intercept,
    config: &TransportConfig,
    target: String,
) -> Result<TcpStream, DialError> {
    let target = uri_of(target)?;
    let tcp = connect_tcp(proxy.uri(), config).await?;
    let connector = Connected(Some(tcp));
    let done = match scheme {
        "socks4" | "socks4a" => SocksV4::new(proxy.uri().clone(), connector).call(target).await,
        _ => {
            let mut socks = SocksV5::new(proxy.uri().clone(), connector);
            if let Some((user, password)) = proxy.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            socks.call(target).await
        }
    };
    let io = done.map_err(|error| failed(proxy, error))?;
    Ok(io.into_inner())
}

/// The target for a connector: a host and a port.
fn uri_of(authority: String) -> Result<Uri, DialError> {
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query("/").build();
    Ok(uri.or(Err(InvalidUrl::Uri))?)
}

/// A connector that returns an existing connection.
struct Connected(Option<TcpStream>);

impl Service<Uri> for Connected {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().map(TokioIo::new).ok_or_else(|| NotConnected.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::super::proxy_rules::ProxyRules;
    use super::*;

    const SILENT: [u8; 4] = [192, 0, 2, 1];
    const GOOD: [u8; 4] = [192, 0, 2, 2];

    /// Reads a request of SOCKS, and returns its address and the answer that grants it.
    async fn request(io: &mut TcpStream, scheme: &str) -> io::Result<([u8; 4], &'static [u8])> {
        if scheme == "socks4" {
            // The version, the command, the port, the address, and an empty user.
            let mut request = [0; 9];
            io.read_exact(&mut request).await?;
            let [4, 1, 0, 80, address @ .., 0] = request else { panic!("{request:?}") };
            return Ok((address, b"\0\x5a\0\0\0\0\0\0"));
        }
        let mut methods = [0; 2];
        io.read_exact(&mut methods).await?;
        io.read_exact(&mut vec![0; methods[1].into()]).await?;
        io.write_all(b"\x05\0").await?;
        let mut request = [0; 10];
        io.read_exact(&mut request).await?;
        let [5, 1, 0, 1, address @ .., 0, 80] = request else { panic!("{request:?}") };
        Ok((address, b"\x05\0\0\x01\0\0\0\0\0\0"))
    }

    /// The proxy answers nothing for the first address of the host (RFC 8305).
    #[tokio::test]
    async fn a_silent_address_behind_a_socks_proxy_is_passed() {
        for scheme in ["socks4", "socks5"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut rules = ProxyRules::default();
            rules.set_fixed(&format!("{scheme}://{}", listener.local_addr().unwrap()));
            let proxy = rules.for_url(&Uri::from_static("http://example.com")).unwrap().unwrap();
            let serving = async {
                let (mut first, _) = listener.accept().await.unwrap();
                let (address, _) = request(&mut first, scheme).await.unwrap();
                assert_eq!(address, SILENT);
                let (mut second, _) = listener.accept().await.unwrap();
                let (address, grant) = request(&mut second, scheme).await.unwrap();
                assert_eq!(address, GOOD);
                second.write_all(grant).await.unwrap();
                let mut said = [0; 2];
                second.read_exact(&mut said).await.unwrap();
                assert_eq!(&said, b"hi");
                drop(first);
            };
            let addresses = [SILENT, GOOD].map(|address| (address, 80).into()).to_vec();
            let config = TransportConfig::default();
            let dialling = async {
                let dialled = socks_to_any(scheme, &proxy, &config, addresses).await;
                let mut tcp = dialled.unwrap();
                tcp.write_all(b"hi").await.unwrap();
                tcp
            };
            let both = async { tokio::join!(dialling, serving) };
            timeout(Duration::from_secs(30), both).await.unwrap();
        }
    }
}
