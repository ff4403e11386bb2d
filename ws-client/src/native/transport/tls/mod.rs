//! How is the TLS handshake with a server done, and by which library?
//!
//! The features choose: `rustls` has the code for rustls, `native` that for the library of the
//! operating system. With neither, a `wss` URL is an error.

#[cfg(feature = "native-tls")]
mod native;
#[cfg(feature = "rustls-tls-manual-roots")]
mod rustls;

use super::settings::TlsSettings;
use super::stream::{AsyncStream, Encrypted};
use crate::native::error::DialError;

/// The protocols to offer by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alpn(&'static [&'static str]);

impl Alpn {
    pub(crate) const HTTP1: Self = Self(&["http/1.1"]);
    #[cfg(feature = "http2")]
    pub(crate) const HTTP2: Self = Self(&["h2"]);
    #[cfg(feature = "http2")]
    pub(crate) const EITHER: Self = Self(&["h2", "http/1.1"]);

    /// Must the server choose HTTP/2?
    #[cfg(any(feature = "native-tls", feature = "rustls-tls-manual-roots"))]
    fn is_http2_only(self) -> bool {
        self.0 == ["h2"]
    }
}

/// The TLS client of the library that the features select. Without a TLS feature, it has no
/// variant.
pub(super) enum TlsClient {
    #[cfg(feature = "rustls-tls-manual-roots")]
    Rustls(rustls::RustlsClient),
    #[cfg(feature = "native-tls")]
    Native(native::NativeClient),
}

impl TlsClient {
    /// Fails if the settings are not complete, before anything is sent.
    pub(super) fn new(settings: &TlsSettings, alpn: Alpn) -> Result<Self, DialError> {
        match settings {
            TlsSettings::Default => Self::of_features(alpn),
            #[cfg(feature = "rustls-tls-manual-roots")]
            TlsSettings::Rustls(config) => {
                Ok(Self::Rustls(rustls::RustlsClient::new(config, alpn)))
            }
            #[cfg(feature = "native-tls")]
            TlsSettings::Native(given) => {
                Ok(Self::Native(native::NativeClient::new(given.clone(), alpn)))
            }
        }
    }

    /// rustls if it has roots, otherwise the library of the system.
    #[cfg(all(
        feature = "rustls-tls-manual-roots",
        any(
            feature = "rustls-tls-platform-verifier",
            feature = "rustls-tls-native-roots",
            feature = "rustls-tls-webpki-roots",
            not(feature = "native-tls"),
        )
    ))]
    fn of_features(alpn: Alpn) -> Result<Self, DialError> {
        Ok(Self::Rustls(rustls::RustlsClient::new(rustls::default_config()?, alpn)))
    }

    #[cfg(all(
        feature = "native-tls",
        not(any(
            feature = "rustls-tls-platform-verifier",
            feature = "rustls-tls-native-roots",
            feature = "rustls-tls-webpki-roots",
        ))
    ))]
    fn of_features(alpn: Alpn) -> Result<Self, DialError> {
        Ok(Self::Native(native::NativeClient::of_system(alpn)?))
    }

    #[cfg(not(any(feature = "native-tls", feature = "rustls-tls-manual-roots")))]
    fn of_features(_: Alpn) -> Result<Self, DialError> {
        Err(crate::MissingFeature::Tls.into())
    }

    /// Does the handshake with the server of this name or address.
    #[cfg_attr(
        not(any(feature = "native-tls", feature = "rustls-tls-manual-roots")),
        expect(unused_variables, reason = "there is no `TlsClient`")
    )]
    pub(super) async fn handshake<T: AsyncStream + 'static>(
        self,
        host: &str,
        io: T,
    ) -> Result<Encrypted, DialError> {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        match self {
            #[cfg(feature = "rustls-tls-manual-roots")]
            Self::Rustls(client) => client.handshake(name, io).await,
            #[cfg(feature = "native-tls")]
            Self::Native(client) => client.handshake(name, io).await,
        }
    }
}
