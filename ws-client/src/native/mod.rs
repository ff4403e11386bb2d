//! How does a program with sockets become the client of a URL?
//!
//! [`dial`] has the request, [`dialer`] connects by [`transport`], and [`http1_connect`] or `http2`
//! makes the opening handshake. The connection is that of `ws-core`. `crate::browser` has the same
//! names for browsers.

#[cfg(feature = "blocking")]
pub mod blocking;
mod body;
mod deadline;
mod dial;
mod dial_retry;
mod dialer;
mod error;
mod http1;
mod http1_connect;
#[cfg(feature = "http2")]
mod http2;
mod redirect;
mod refused;
mod request;
#[cfg(feature = "reconnect")]
pub(crate) mod runtime;
mod transport;
mod url;
#[cfg(feature = "reqwest")]
mod via_reqwest;

pub use dial::Dial;
pub use dialer::Dialer;
pub use error::{DialError, InvalidHeader, MissingFeature, ProxyError, RedirectError};
pub use http;
#[cfg(feature = "native-tls")]
pub use native_tls;
pub use refused::RefusedResponse;
#[cfg(feature = "reqwest")]
pub use reqwest;
#[cfg(feature = "rustls-tls-manual-roots")]
pub use tokio_rustls::rustls;
#[cfg(feature = "tungstenite")]
pub use ws_core::compat;
pub use ws_core::frame;
pub use ws_core::prelude::{self, *};
