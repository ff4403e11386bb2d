//! How do several WebSockets share one HTTP/2 connection (RFC 8441)?
//!
//! `pool` selects the connection for the next WebSocket, `connection` is one HTTP/2
//! connection, `stream` is the HTTP/2 stream of one WebSocket, and `inbox` has what it has not read.

mod connection;
mod inbox;
mod pool;
mod stream;

pub(crate) use pool::{Http2Fallback, Http2Pool};
