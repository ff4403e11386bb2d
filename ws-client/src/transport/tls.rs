//! How is the TLS handshake with a server done, and which protocol does ALPN select?

use std::sync::{Arc, OnceLock};

use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, ClientConfig, Error};

use super::stream::AsyncStream;
use crate::error::DialError;

/// The protocols to offer by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alpn(&'static [&'static [u8]]);

impl Alpn {
    pub(crate) const HTTP1: Self = Self(&[b"http/1.1"]);
    #[cfg(feature = "http2")]
    pub(crate) const HTTP2: Self = Self(&[b"h2"]);
    #[cfg(feature = "http2")]
    pub(crate) const EITHER: Self = Self(&[b"h2", b"http/1.1"]);
}

/// The given settings, or the defaults with the roots of the platform, with these protocols.
pub(super) fn config(
    given: Option<&Arc<ClientConfig>>,
    alpn: Alpn,
) -> Result<Arc<ClientConfig>, DialError> {
    let mut config = match given {
        Some(config) => ClientConfig::clone(config),
        None => platform().map_err(|error| DialError::Tls(error.into()))?.clone(),
    };
    config.alpn_protocols = alpn.0.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Does the handshake. Returns whether ALPN selected HTTP/2.
pub(super) async fn handshake<T: AsyncStream + 'static>(
    config: Arc<ClientConfig>,
    host: &str,
    io: T,
) -> Result<(Box<dyn AsyncStream>, bool), DialError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned());
    let name = name.map_err(|error| DialError::Tls(error.into()))?;
    let must_be_http2 = config.alpn_protocols == [b"h2"];
    let io = TlsConnector::from(config).connect(name, io).await;
    let io = io.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) if must_be_http2 => {
            DialError::NoHttp2
        }
        _ => DialError::Tls(error.into()),
    })?;
    let is_http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Box::new(io), is_http2))
}

/// The settings with the root certificates of the platform.
///
/// Loaded on first use: loading fails if there are none, as in many containers.
fn platform() -> Result<&'static ClientConfig, Error> {
    static PLATFORM: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = PLATFORM.get() {
        return Ok(config);
    }
    let installed = CryptoProvider::get_default().cloned();
    let provider = installed.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    Ok(PLATFORM.get_or_init(|| config))
}
