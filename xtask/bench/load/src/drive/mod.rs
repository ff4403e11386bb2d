//! The part of the generator that meets a server.

pub mod check;
pub mod conn;
pub mod idle;
pub mod traffic;
pub mod window;
