//! How is a byte stream to a server of Redis opened?

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use ws_events_broker::SessionError;

use crate::config::{Address, RedisConfig};

/// A stream to a server.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Opens a stream.
pub(crate) async fn open(
    address: &Address,
    #[cfg_attr(not(feature = "tls"), expect(unused_variables))] config: &RedisConfig,
) -> Result<Box<dyn ByteStream>, SessionError> {
    match address {
        Address::Tcp { host, port } => Ok(Box::new(tcp(host, *port).await?)),
        #[cfg(feature = "tls")]
        Address::Tls { host, port } => {
            let settings = match &config.tls {
                Some(settings) => settings.clone(),
                None => std::sync::Arc::new(default_tls()?),
            };
            let name = tokio_rustls::rustls::pki_types::ServerName::try_from(host.clone());
            let name = name.map_err(SessionError::new)?;
            let connector = tokio_rustls::TlsConnector::from(settings);
            let stream = connector.connect(name, tcp(host, *port).await?).await;
            Ok(Box::new(stream.map_err(|error| failed("TLS", host, *port, &error))?))
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let stream = tokio::net::UnixStream::connect(path).await;
            Ok(Box::new(stream.map_err(|error| {
                SessionError::new(format!("cannot connect to {}: {error}", path.display()))
            })?))
        }
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, SessionError> {
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|error| failed("TCP", host, port, &error))?;
    // Batches are written as a whole.
    stream.set_nodelay(true).map_err(SessionError::new)?;
    Ok(stream)
}

fn failed(what: &str, host: &str, port: u16, error: &std::io::Error) -> SessionError {
    SessionError::new(format!("cannot connect to {host}:{port} by {what}: {error}"))
}

/// The roots of the operating system.
#[cfg(feature = "tls")]
fn default_tls() -> Result<tokio_rustls::rustls::ClientConfig, SessionError> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    use tokio_rustls::rustls::ClientConfig;
    use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};

    let installed = CryptoProvider::get_default().cloned();
    let provider = installed.unwrap_or_else(|| aws_lc_rs::default_provider().into());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(SessionError::new)?;
    let builder = builder.with_platform_verifier().map_err(SessionError::new)?;
    Ok(builder.with_no_client_auth())
}
