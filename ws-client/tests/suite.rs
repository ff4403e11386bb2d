//! Does the client keep its promises? The tests that need no process of their own.
//!
//! One program: linking one for each file takes several times as long.
#![cfg(test)]

#[path = "../../ws-server-hyper/tests/raw_http2/mod.rs"]
mod raw_http2;
mod support;

mod answers;
mod blocking;
mod dial;
mod errors;
mod http2;
mod reconnect;
mod secrets;
mod transport;
