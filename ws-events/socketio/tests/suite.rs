//! Does Socket.IO over HTTP keep its promises? The tests that need no process of their own.
//!
//! One program: linking one for each file takes several times as long.
#![cfg(test)]

mod support;

mod conformance;
mod http2;
mod hub;
mod odd_requests;
mod recovery;
mod refusals;
mod service;
