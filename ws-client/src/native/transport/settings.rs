//! Which settings does a transport have?

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "rustls-tls-manual-roots")]
use std::sync::Arc;

#[cfg(feature = "proxy")]
use super::proxy_rules::ProxyRules;

/// How servers are connected to.
#[derive(Clone, Debug, Default)]
pub(crate) struct TransportConfig {
    pub(crate) tls: TlsSettings,
    #[cfg(feature = "proxy")]
    pub(crate) proxies: ProxyRules,
    pub(crate) local_address: Option<IpAddr>,
    /// The addresses of names in lower case, in place of those of the resolver. A port of 0 is that of
    /// the URL.
    pub(crate) resolved: BTreeMap<String, Vec<SocketAddr>>,
}

/// The TLS settings of a [`Dialer`](crate::Dialer).
#[derive(Clone, Default)]
pub(crate) enum TlsSettings {
    /// Those of the features.
    #[default]
    Default,
    #[cfg(feature = "rustls-tls-manual-roots")]
    Rustls(Arc<tokio_rustls::rustls::ClientConfig>),
    #[cfg(feature = "native-tls")]
    Native(native_tls::TlsConnector),
}

/// The keys of a client certificate are secret.
impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "Default",
            #[cfg(feature = "rustls-tls-manual-roots")]
            Self::Rustls(_) => "Rustls(..)",
            #[cfg(feature = "native-tls")]
            Self::Native(_) => "Native(..)",
        })
    }
}
