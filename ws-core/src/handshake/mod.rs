//! How do client and server make the opening handshake (RFC 6455 §4)?
//!
//! Requests and responses are types of the `http` crate. This module does no I/O.
//!
//! **Offer → response → negotiated.** A client makes an [`Offer`], whose
//! [headers](Offer::headers) request the upgrade. A server has [`AcceptOptions`]; its
//! [`Acceptor`] [answers](Acceptor::answer) the request with [`Accepted`] or with a [`Rejection`],
//! which has an HTTP status. The client [verifies](Offer::verify) the response. Both then hold the
//! same [`Negotiated`], from which a connection starts.
//!
//! ```
//! use ws_core::Compression;
//! use ws_core::handshake::{AcceptOptions, Acceptor, Offer};
//!
//! let offer = Offer::new(["chat.v2", "chat.v1"], Compression::no_context_takeover())?;
//! let mut request = http::Request::get("/chat").header("host", "example.com").body(())?;
//! request.headers_mut().extend(offer.headers());
//!
//! let options = AcceptOptions::new()
//!     .subprotocols(["chat.v2"])
//!     .compression(Compression::context_takeover());
//! let accepted = Acceptor::new(&options).answer(&request)?;
//!
//! let negotiated = offer.verify(&accepted.response)?;
//! assert_eq!(negotiated.subprotocol.as_deref(), Some("chat.v2"));
//! assert_eq!(negotiated, accepted.negotiated);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Over HTTP/1.1 a WebSocket begins with an upgrade, over HTTP/2 with an extended CONNECT
//! (RFC 8441). The version of the request selects between them; the rest is the same.
//!
//! The modules: `request` validates any request. `origin` and `subprotocol_choice` are the decisions
//! of the server. `proxies` defines which proxies the server trusts. `transport` is what the
//! extensions of a request say about its transport. `extension` parses the extension grammar, and
//! `compression` negotiates `permessage-deflate`. Both sides share `key` and `headers`. `head`
//! encodes and decodes HTTP/1.1 heads for callers without an HTTP library.
//!
//! Without the feature `server`, only the parts of the client remain.

#[cfg(feature = "conn")]
pub mod head;

#[cfg(feature = "server")]
mod accept_options;
#[cfg(feature = "server")]
mod acceptor;
mod base64;
mod compression;
mod error;
mod extension;
#[cfg(any(feature = "conn", feature = "server"))]
mod head_limit;
mod headers;
mod key;
mod negotiated;
mod offer;
#[cfg(feature = "server")]
mod origin;
#[cfg(feature = "server")]
mod proxies;
#[cfg(feature = "server")]
mod rejection;
#[cfg(feature = "server")]
mod request;
mod sha1;
mod subprotocol;
#[cfg(feature = "server")]
mod subprotocol_choice;
mod transport;

#[cfg(feature = "server")]
pub use accept_options::AcceptOptions;
#[cfg(all(feature = "conn", feature = "server"))]
pub(crate) use acceptor::catch_panic;
#[cfg(feature = "server")]
pub use acceptor::{Accepted, Acceptor};
#[cfg(feature = "conn")]
pub(crate) use compression::between;
pub use error::HandshakeError;
#[cfg(all(feature = "conn", feature = "server"))]
pub(crate) use head_limit::HeadLimit;
pub use headers::basic_authorization;
pub use negotiated::Negotiated;
pub use offer::Offer;
#[cfg(feature = "server")]
pub use origin::Origin;
#[cfg(feature = "server")]
pub use proxies::{InvalidNetwork, TrustedProxies};
#[cfg(feature = "server")]
pub use rejection::Rejection;
#[cfg(feature = "server")]
pub use request::{HandshakeRequest, is_upgrade};
pub use subprotocol::{InvalidSubprotocol, check_subprotocols};
#[cfg(feature = "server")]
pub use subprotocol_choice::SubprotocolOrder;
pub use transport::{Encrypted, PeerAddr};
