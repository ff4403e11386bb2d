//! Sockets that share a connection of HTTP/2 (RFC 8441).
//!
//! `pool` says which connection carries the next socket, `link` is such a connection, and
//! `stream` one socket's part of it.

mod link;
mod pool;
mod stream;

pub(crate) use pool::{Pool, Unwilling};
