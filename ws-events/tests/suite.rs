//! Does the hub keep its promises? The tests that need no process of their own.
//!
//! One program: linking one for each file takes several times as long.
#![cfg(test)]

#[path = "../../ws-core/tests/support/flood.rs"]
mod flood;
mod support;

mod acks;
mod batch_writers;
mod cluster;
mod cluster_leaving;
mod cluster_properties;
mod contract;
mod engine;
mod failed_recovery;
mod guarantees;
mod handler_yield;
mod history;
mod inspect;
mod kicks;
mod last_messages;
mod late_records;
mod lifecycle;
mod malformed;
mod presence;
mod presence_cluster;
mod properties;
mod protocols;
mod reconnect;
mod recovery;
mod session_log;
mod sessions;
mod shared_sessions;
mod slow_consumers;
mod socketio;
mod turns;
