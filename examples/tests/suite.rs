//! Do the adapters behave alike? The tests that need no process of their own.
//!
//! One program: linking one for each file takes several times as long.
#![cfg(test)]

mod adapters;
mod program;
mod self_signed;

mod admin;
mod buffer_pool;
mod coming_from_go;
mod draining;
mod graceful_shutdown;
mod limits;
mod metrics;
mod middleware;
mod odd_requests;
mod panics;
mod request_targets;
mod request_timeout;
mod same_responses;
mod server_settings;
mod socket_activation;
mod socketio_chat;
mod tls;
mod tls_example;
mod tungstenite;
