//! How does a client connect to a server: TCP, proxy, TLS?

mod happy_eyeballs;
#[cfg(feature = "proxy")]
mod proxy;
#[cfg(feature = "proxy")]
mod proxy_rules;
mod settings;
mod stream;
mod tcp;
mod tls;

#[cfg(any(feature = "native-tls", feature = "rustls-tls-manual-roots"))]
pub(crate) use settings::TlsSettings;
pub(crate) use settings::TransportConfig;
#[cfg(feature = "http2")]
pub(crate) use stream::AsyncStream;
pub(crate) use stream::{Established, TransportStream};
pub(crate) use tls::Alpn;

use std::net::SocketAddr;

use crate::native::deadline::HandshakeDeadline;
use crate::native::url::HttpUrl;
use crate::{DialError, DialStep};
use stream::Encrypted;
use tcp::Host;
use tls::TlsClient;

/// Connects to the server of `url`, through a proxy if the rules name one, and with TLS if
/// the URL asks for it. Offers the protocols of `alpn`.
pub(crate) async fn connect(
    config: &TransportConfig,
    url: &HttpUrl,
    alpn: Alpn,
    deadline: HandshakeDeadline,
) -> Result<Established, DialError> {
    let server = url.authority();
    let host = Host { name: &server.host, zone: server.zone.as_deref(), port: server.port() };
    // A mistake in the settings is reported before anything is sent.
    let tls = url.is_encrypted().then(|| TlsClient::new(&config.tls, alpn)).transpose()?;
    let reaching = reach(config, url, host);
    let (io, peer) = deadline.run(server, Some(DialStep::Connection), reaching).await?;
    let Some(tls) = tls else { return Ok(Established { io, peer, is_http2: false }) };
    let shaking_hands = async {
        match io {
            TransportStream::Tcp(tcp) => tls.handshake(host.name, tcp).await,
            TransportStream::Boxed(io) => tls.handshake(host.name, io).await,
        }
    };
    let Encrypted { io, is_http2 } =
        deadline.run(server, Some(DialStep::Tls), shaking_hands).await?;
    Ok(Established { io: TransportStream::Boxed(io), peer, is_http2 })
}

/// Connects to a host, perhaps through a proxy. Returns the peer of the TCP connection, too.
async fn reach(
    config: &TransportConfig,
    url: &HttpUrl,
    host: Host<'_>,
) -> Result<(TransportStream, Option<SocketAddr>), DialError> {
    #[cfg(feature = "proxy")]
    if let Some(proxy) = config.proxies.for_url(url.uri())? {
        return proxy::connect(&proxy, config, host).await;
    }
    #[cfg(not(feature = "proxy"))]
    let _ = url;
    let tcp = tcp::connect(host, config).await?;
    let peer = tcp.peer_addr().ok();
    Ok((TransportStream::Tcp(tcp), peer))
}
