//! How does a client connect to a server: TCP, proxy, TLS?

mod proxy;
mod proxy_rules;
mod stream;
mod tcp;
mod tls;

#[cfg(feature = "http2")]
pub(crate) use stream::AsyncStream;
pub(crate) use stream::{Established, TransportConfig, TransportStream};
pub(crate) use tls::Alpn;

use crate::DialError;
use crate::url::HttpUrl;
use tcp::Host;

/// Connects to the server of `url`, through a proxy if the rules name one, and with TLS if
/// the URL asks for it. Offers the protocols of `alpn`.
pub(crate) async fn connect(
    config: &TransportConfig,
    url: &HttpUrl,
    alpn: Alpn,
) -> Result<Established, DialError> {
    // An HTTP URL always has a host and a port.
    let name = url.url().host_str().unwrap_or_default();
    let port = url.url().port_or_known_default().unwrap_or_default();
    let host = Host { name, zone: url.zone(), port };
    let (io, peer) = match config.proxies.for_url(url.uri())? {
        None => {
            let tcp = tcp::connect(host, config.local_address).await?;
            let peer = tcp.peer_addr().ok();
            (TransportStream::Tcp(tcp), peer)
        }
        Some(proxy) => proxy::connect(&proxy, config, host).await?,
    };
    if !url.is_encrypted() {
        return Ok(Established { io, peer, is_http2: false });
    }
    let tls = tls::config(config.tls.as_ref(), alpn)?;
    let (io, is_http2) = match io {
        TransportStream::Tcp(tcp) => tls::handshake(tls, name, tcp).await?,
        TransportStream::Boxed(io) => tls::handshake(tls, name, io).await?,
    };
    Ok(Established { io: TransportStream::Boxed(io), peer, is_http2 })
}
