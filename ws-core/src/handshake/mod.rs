//! The opening handshake (RFC 6455 §4), on `http` types and without I/O.
//!
//! **Offer → answer → agreed.** A client makes an [`Offer`], whose
//! [headers](Offer::headers) ask for an upgrade. A server has [`AcceptOptions`],
//! which [answer](AcceptOptions::answer) the request: [`Accepted`], or a
//! [`Rejection`] that knows its HTTP status. The client
//! [verifies](Offer::verify) the answer. Both then hold the same [`Negotiated`], which
//! is all that a connection needs to know about its handshake.
//!
//! ```
//! use ws_core::Compression;
//! use ws_core::handshake::{AcceptOptions, Offer};
//!
//! let offer = Offer::new(["chat.v2", "chat.v1"], Compression::no_context_takeover())?;
//! let mut request = http::Request::get("/chat").header("host", "example.com").body(())?;
//! request.headers_mut().extend(offer.headers());
//!
//! let options = AcceptOptions::new()
//!     .subprotocols(["chat.v2"])
//!     .compression(Compression::context_takeover());
//! let accepted = options.answer(&request)?;
//!
//! let agreed = offer.verify(&accepted.response)?;
//! assert_eq!(agreed.subprotocol.as_deref(), Some("chat.v2"));
//! assert_eq!(agreed, accepted.agreed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Over HTTP/1.1 a WebSocket begins with an upgrade, over HTTP/2 with an extended CONNECT
//! (RFC 8441); the version of the request decides which, and all else is the same.
//!
//! Below them is what both sides read and print: the `key`, lists of tokens in
//! `headers`, the grammar of extensions in `extension`, and what
//! `permessage-deflate` makes of it in `compression`. `opening` is what is checked of
//! any request, `subprotocol` and `origin` are what only a server decides, and `head` turns requests and responses into bytes
//! and back for those who have no HTTP library around.

#[cfg(feature = "conn")]
pub mod head;

mod client;
mod compression;
mod extension;
mod headers;
mod key;
mod opening;
mod origin;
mod rejection;
mod server;
mod subprotocol;

pub use client::{HandshakeError, Offer};
pub use opening::{HandshakeRequest, is_upgrade};
pub use origin::Origin;
pub use rejection::Rejection;
pub use server::{AcceptOptions, Accepted};
pub use subprotocol::{InvalidSubprotocol, SubprotocolOrder};

use crate::deflate::Params;

/// What the opening handshake agreed on, which is what a connection starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// The subprotocol, if one was agreed on.
    pub subprotocol: Option<String>,
    /// The parameters of `permessage-deflate`, if it was agreed on.
    pub compression: Option<Params>,
}
