//! The protocol as a value: no sockets, no clock, no async.
//!
//! For building another front-end than [`Conn`](crate::Conn), and for tests.
//! [`Inbound`] turns bytes into [`Event`]s, [`Outbound`] turns messages into bytes,
//! and [`Timers`] says when something is due. They are three values rather than
//! one because the directions must not wait for each other; what they have to tell
//! each other is little, and goes through whoever owns them: a ping is answered by
//! [`Outbound::pong`], a close frame by [`Outbound::close`], a [`Fault`] by
//! [`Outbound::fail`].

mod by_frame;
mod close;
#[cfg(feature = "conn")]
mod close_state;
mod compressor;
mod counts;
mod crafted;
mod event;
mod fault;
mod inbound;
mod judge;
mod open_stream;
mod outbound;
mod payload;
mod queue;
mod rates;
mod short;
mod spare;
mod timers;
mod whole;

pub use close::{CloseFrame, format_close_message};
#[cfg(feature = "conn")]
pub(crate) use close_state::{CloseAction, CloseEvent, CloseState};
pub use event::{Event, Mode, Received};
pub use fault::Fault;
pub use inbound::Inbound;
pub use outbound::{Outbound, Then};
pub use queue::Queue;
pub use rates::Rates;
pub(crate) use short::ShortHeader;
pub use timers::{Due, Timers};
pub use whole::{Front, Whole};

/// Which end of the connection this is (RFC 6455 §1.2): clients mask what they
/// send, servers close the transport first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that dialled.
    Client,
    /// The end that accepted.
    Server,
}

impl Role {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
