//! How does one get to a server? By a name, a TCP stream, perhaps a proxy, perhaps TLS.

mod proxies;
mod proxy;
mod tcp;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;

pub(crate) use proxies::Proxies;
pub use proxy::ProxyError;
pub(crate) use tls::Alpn;

use crate::DialError;
use crate::target::Target;

/// A stream of bytes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The settings by which servers are reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) proxies: Proxies,
    pub(crate) local: Option<IpAddr>,
}

/// A stream to a server.
pub(crate) struct Reached {
    pub(crate) io: Transport,
    /// The other end of TCP: the server, or the proxy.
    pub(crate) peer: Option<SocketAddr>,
    /// What the server has chosen to speak is HTTP/2.
    #[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "it is not offered"))]
    pub(crate) is_http2: bool,
}

/// TCP is left as it is, because a connection over it is the fastest.
pub(crate) enum Transport {
    Tcp(TcpStream),
    Other(Box<dyn Stream>),
}

impl From<TcpStream> for Transport {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<Box<dyn Stream>> for Transport {
    fn from(io: Box<dyn Stream>) -> Self {
        Self::Other(io)
    }
}

impl Route {
    /// Goes there, and offers to speak this.
    pub(crate) async fn reach(&self, target: &Target, alpn: Alpn) -> Result<Reached, DialError> {
        let url = target.url();
        // A URL of HTTP has both.
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let (io, peer) = match self.proxies.intercept(target.uri())? {
            None => {
                let tcp = tcp::connect(host, port, self.local).await?;
                let peer = tcp.peer_addr().ok();
                (Transport::Tcp(tcp), peer)
            }
            Some(proxy) => proxy::connect(&proxy, self, host, port).await?,
        };
        if !target.is_encrypted() {
            return Ok(Reached { io, peer, is_http2: false });
        }
        let config = tls::config(self.tls.as_ref(), alpn)?;
        let (io, is_http2) = match io {
            Transport::Tcp(tcp) => tls::handshake(config, host, tcp).await?,
            Transport::Other(io) => tls::handshake(config, host, io).await?,
        };
        Ok(Reached { io: Transport::Other(io), peer, is_http2 })
    }
}
