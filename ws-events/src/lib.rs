//! A hub for WebSockets: events, rooms, presence, and broadcasts that never wait for a slow
//! peer.

mod builder;
mod counters;
mod directory;
mod dispatch;
mod drain;
mod driver;
mod error;
mod event;
mod extract;
mod handler;
mod hub;
mod id;
mod listeners;
mod mailbox;
mod member;
mod outbox;
mod posting;
mod protocol;
mod pump;
mod rooms;
mod shards;
mod socket;
mod stay;
mod sync;
mod target;

pub use builder::HubBuilder;
pub use counters::{HubStats, SocketStats};
pub use drain::Drained;
pub use error::{EmitError, EncodeError, Fault, NotConnected, Reason, Refusal, SetIdError};
pub use event::{Event, EventPayload};
pub use extract::{FromEvent, Json, Room, State};
pub use handler::{Handler, Handling};
pub use hub::Hub;
pub use id::Id;
pub use listeners::ListenerId;
pub use outbox::{Outbox, Overflow};
pub use posting::Delivery;
pub use socket::Socket;
pub use target::Target;
pub use ws_core::{CloseError, Conn, Error, Message, MessageType, Prepared, StatusCode, Values};
