//! What does an adapter for a web framework, a client or a hub need beyond the API of applications?
//!
//! Adapters also use [`Acceptor`](crate::Acceptor), [`handshake`](crate::handshake) and
//! [`ConnectionGuard`](crate::handler::ConnectionGuard).

pub use crate::conn::adapter::*;
#[cfg(feature = "server")]
pub use crate::conn::server_adapter::*;
