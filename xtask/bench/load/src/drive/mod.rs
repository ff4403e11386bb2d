//! How does the load generator drive a server?

pub mod carrier;
pub mod check;
pub mod conn;
mod hpack;
pub mod http2;
pub mod idle;
#[cfg(feature = "tls")]
pub mod tls;
pub mod traffic;
pub mod upgrades;
pub mod window;
