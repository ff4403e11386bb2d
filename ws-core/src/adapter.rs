//! What does an adapter for a web framework, or a hub, need beyond the API of applications?
//!
//! Adapters also use [`handshake`](crate::handshake) and
//! [`ConnectionGuard`](crate::handler::ConnectionGuard).

pub use crate::conn::Batch;
