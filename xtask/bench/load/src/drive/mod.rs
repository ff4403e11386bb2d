//! How does the load generator drive a server?

pub mod check;
pub mod conn;
pub mod idle;
pub mod traffic;
pub mod window;
