//! How is a TLS handshake done by the library of the operating system?

use native_tls::TlsConnector;

use super::Alpn;
use crate::native::error::{DialError, tls_failed};
use crate::native::transport::stream::{AsyncStream, Encrypted};

/// A handshake with these settings.
pub(crate) struct NativeClient {
    connector: TlsConnector,
    alpn: Alpn,
}

impl NativeClient {
    /// The given settings, which already have their protocols.
    pub(super) const fn new(connector: TlsConnector, alpn: Alpn) -> Self {
        Self { connector, alpn }
    }

    /// The settings of the system.
    #[cfg_attr(
        any(
            feature = "rustls-tls-platform-verifier",
            feature = "rustls-tls-native-roots",
            feature = "rustls-tls-webpki-roots",
        ),
        expect(dead_code, reason = "rustls is the default")
    )]
    pub(super) fn of_system(alpn: Alpn) -> Result<Self, DialError> {
        let connector = TlsConnector::builder().request_alpns(alpn.0).build();
        Ok(Self::new(connector.map_err(|error| DialError::Tls(error.into()))?, alpn))
    }

    pub(super) async fn handshake<T: AsyncStream + 'static>(
        self,
        host: &str,
        io: T,
    ) -> Result<Encrypted, DialError> {
        let connector = tokio_native_tls::TlsConnector::from(self.connector);
        let io = connector.connect(host, io).await.map_err(|error| {
            // The alert of a server without HTTP/2; the library has no code for it.
            let is_alpn = error.to_string().contains("no application protocol");
            if is_alpn && self.alpn.is_http2_only() {
                return DialError::NoHttp2;
            }
            tls_failed(host, error)
        })?;
        let chosen = io.get_ref().negotiated_alpn().ok().flatten();
        let is_http2 = chosen.is_some_and(|name| name == b"h2");
        // The settings cannot be changed for one handshake.
        if is_http2 && self.alpn == Alpn::HTTP1 {
            let error = "the server has chosen HTTP/2 by ALPN where HTTP/1.1 is needed: offer \
                         `http/1.1` alone in `Dialer::native_tls`";
            return Err(DialError::Tls(error.into()));
        }
        Ok(Encrypted { io: Box::new(io), is_http2 })
    }
}
