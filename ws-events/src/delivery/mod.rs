//! How does a message get from a sender to the connections of many sockets?
//!
//! ```text
//! enqueue ─▶ send_queue ─┬─▶ batch_writer ─▶ Conn    to many: a task writes for up to 32 sockets
//!                        └─▶ writer ───────▶ Conn    to one, and for a transport that is full
//! ```
//!
//! Nothing here knows of a hub: a socket is a [`Recipient`](recipient::Recipient). So
//! `tests/model.rs` runs the whole folder under shuttle without a hub.

pub(crate) mod batch_writer;
pub(crate) mod enqueue;
pub(crate) mod handler_yield;
pub(crate) mod overflow;
pub(crate) mod queue_pool;
pub(crate) mod recipient;
pub(crate) mod send_queue;
pub(crate) mod socket_state;
pub(crate) mod stats;
pub(crate) mod wire_format;
pub(crate) mod writer;
