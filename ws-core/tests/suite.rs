//! Does a connection keep its promises? The tests that need no process of their own.
//!
//! One program: linking one for each file takes several times as long.
#![cfg(test)]

#[path = "support/flood.rs"]
mod flood;
mod support;
#[path = "support/trickle.rs"]
mod trickle;

mod admission;
mod buffers;
mod cancel_safety;
mod close;
mod coded;
mod compat;
mod concurrency;
mod control_frames;
mod fairness;
mod frames;
mod handlers;
mod handshake;
mod handshake_http2;
mod hooks;
mod leaving;
mod messages;
mod prepared;
mod properties;
mod rates;
mod stats;
mod streams;
mod unread;
mod violations;
