//! How does the WebSocket protocol work without I/O, clock or runtime?
//!
//! The sans-I/O core of [`Conn`](crate::Conn), for other front ends and for tests. [`Inbound`]
//! turns bytes into [`ProtocolEvent`]s. [`Outbound`] turns messages into bytes. They are two
//! values because neither direction waits for the other. The caller connects them: it answers a
//! ping with [`Outbound::pong`], a close frame with [`Outbound::close`], and a [`Failure`] with
//! [`Outbound::fail`].
//!
//! ```
//! use std::io::IoSlice;
//!
//! use ws_core::proto::{Inbound, Mode, Outbound, ProtocolEvent, Role};
//! use ws_core::{Config, Message};
//!
//! let mut client = Outbound::new(Role::Client, &Config::new(), None);
//! client.message(Message::from("hello"));
//!
//! let mut wire = Vec::new();
//! while !client.is_empty() {
//!     let mut slices = [IoSlice::new(&[]); 8];
//!     let filled = client.slices(&mut slices);
//!     let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
//!     client.advance(bytes.len());
//!     wire.extend(bytes);
//! }
//!
//! let mut server = Inbound::new(Role::Server, Config::new(), None);
//! let received = server.receive(&mut wire, Mode::Whole).unwrap();
//! assert_eq!(received.consumed, wire.len());
//! assert_eq!(received.event, Some(ProtocolEvent::Message(Message::from("hello"))));
//! ```

mod close_frame;
#[cfg(feature = "conn")]
mod close_state;
mod compressor;
mod event;
mod failure;
mod fast_path;
mod inbound;
mod outbound;
mod outbound_stream;
mod payload_buffer;
#[cfg(feature = "conn")]
mod rate_limiter;
mod reassembly;
mod role;
mod send_buffer;
mod send_buffer_cache;
#[cfg(feature = "conn")]
mod timers;
mod turn;
mod validate;

pub use close_frame::CloseFrame;
#[cfg(feature = "conn")]
pub(crate) use close_state::{CloseAction, CloseEvent, CloseState};
pub use event::{Mode, ProtocolEvent, Received};
pub use failure::Failure;
#[cfg(feature = "conn")]
pub(crate) use fast_path::FastPath;
pub use inbound::Inbound;
pub use outbound::{Outbound, PieceKind};
#[cfg(feature = "conn")]
pub(crate) use rate_limiter::RateLimiter;
pub use role::Role;
#[cfg(feature = "conn")]
pub(crate) use timers::{Due, Timers};
#[cfg(feature = "conn")]
pub(crate) use turn::Turn;
