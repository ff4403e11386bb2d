//! How is a TLS handshake done by rustls: which cryptography, which roots?

use std::sync::{Arc, OnceLock};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, ClientConfig, ConfigBuilder, Error, WantsVerifier};

use super::Alpn;
use crate::MissingFeature;
use crate::native::error::{DialError, tls_failed};
use crate::native::transport::stream::{AsyncStream, Encrypted};

/// A handshake with these settings.
pub(crate) struct RustlsClient {
    config: Arc<ClientConfig>,
    alpn: Alpn,
}

impl RustlsClient {
    /// The given settings with these protocols.
    pub(super) fn new(config: &ClientConfig, alpn: Alpn) -> Self {
        let mut config = config.clone();
        config.alpn_protocols = alpn.0.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config), alpn }
    }

    pub(super) async fn handshake<T: AsyncStream + 'static>(
        self,
        host: &str,
        io: T,
    ) -> Result<Encrypted, DialError> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| tls_failed(host, error))?;
        let io = TlsConnector::from(self.config).connect(name, io).await;
        let io =
            io.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol))
                    if self.alpn.is_http2_only() =>
                {
                    DialError::NoHttp2
                }
                _ => tls_failed(host, error),
            })?;
        let is_http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Encrypted { io: Box::new(io), is_http2 })
    }
}

/// The settings of the features.
///
/// Made on first use: loading roots fails if there are none, as in many containers.
pub(super) fn default_config() -> Result<&'static ClientConfig, DialError> {
    static DEFAULT: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = DEFAULT.get() {
        return Ok(config);
    }
    let provider = provider().ok_or(MissingFeature::TlsCrypto)?;
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions();
    let config = with_roots(builder.map_err(|error| DialError::Tls(error.into()))?)?;
    Ok(DEFAULT.get_or_init(|| config))
}

/// The cryptography of the process, or else of the features.
fn provider() -> Option<Arc<CryptoProvider>> {
    let installed = CryptoProvider::get_default().cloned();
    #[cfg(feature = "aws-lc-rs")]
    let installed = installed
        .or_else(|| Some(Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider())));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    let installed = installed
        .or_else(|| Some(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider())));
    installed
}

type Builder = ConfigBuilder<ClientConfig, WantsVerifier>;

/// The roots of the operating system, by its own verifier where it has one.
#[cfg(feature = "rustls-tls-platform-verifier")]
fn with_roots(builder: Builder) -> Result<ClientConfig, DialError> {
    use rustls_platform_verifier::BuilderVerifierExt as _;

    let builder = builder.with_platform_verifier();
    Ok(builder.map_err(|error| DialError::Tls(error.into()))?.with_no_client_auth())
}

/// The roots in files of the operating system, those of Mozilla, or both.
#[cfg(all(
    not(feature = "rustls-tls-platform-verifier"),
    any(feature = "rustls-tls-native-roots", feature = "rustls-tls-webpki-roots")
))]
fn with_roots(builder: Builder) -> Result<ClientConfig, DialError> {
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    #[cfg(feature = "rustls-tls-webpki-roots")]
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    #[cfg(feature = "rustls-tls-native-roots")]
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(DialError::Tls("the system has no root certificates".into()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(not(any(
    feature = "rustls-tls-platform-verifier",
    feature = "rustls-tls-native-roots",
    feature = "rustls-tls-webpki-roots"
)))]
fn with_roots(_: Builder) -> Result<ClientConfig, DialError> {
    Err(MissingFeature::TlsRoots.into())
}
