//! How does one Engine.IO session carry the packets of Socket.IO v5?
//!
//! A packet is a text, of a [`PacketType`], for one namespace. A binary packet is followed by its
//! attachments: binary messages for which its JSON has placeholders. [`PacketDecoder`] takes the
//! messages of a session and gives [`Packet`]s. It reads no clock, and does no I/O.
//!
//! With the feature `msgpack`, a session whose first message is binary has packets in MessagePack, as
//! `socket.io-msgpack-parser` writes them. The same limits and rules apply.
//!
//! # What a client may send, and what happens otherwise
//!
//! | input | result |
//! | --- | --- |
//! | an unknown packet type, or an empty packet | [`PacketError::Type`] |
//! | `CONNECT_ERROR`, which only servers send | [`PacketError::Type`] |
//! | a number of attachments that is malformed, or not followed by `-` | [`PacketError::AttachmentCount`] |
//! | more attachments than [`SocketIoLimits::attachments`] | [`PacketError::TooManyAttachments`] |
//! | more bytes of attachments than [`SocketIoLimits::attachment_bytes`] | [`PacketError::AttachmentsTooLong`] |
//! | text before the attachments are complete, or binary without a packet | [`PacketError::AttachmentOrder`] |
//! | a namespace longer than [`SocketIoLimits::namespace_bytes`] | [`PacketError::NamespaceTooLong`] |
//! | an id that is not a 64-bit number; an `ACK` without an id | [`PacketError::Id`] |
//! | `CONNECT` with JSON that is not an object; `DISCONNECT` with data | [`PacketError::Payload`] |
//! | an `auth` longer than [`SocketIoLimits::auth_bytes`] | [`PacketError::AuthTooLong`] |
//! | `EVENT` whose JSON is not an array, or does not begin with a name; `ACK` whose JSON is not an array | [`PacketError::Payload`] |
//! | a name that Socket.IO reserves, such as `connect` or `disconnecting` | [`PacketError::ReservedName`] |
//! | a name longer than [`SocketIoLimits::event_name_bytes`] | [`PacketError::NameTooLong`] |
//!
//! Each of them ends the session, as the specification demands. Clients report `transport close`.

mod limits;
#[cfg(feature = "msgpack")]
pub(crate) mod msgpack;
mod packet;

pub(crate) use packet::{PacketFormat, ROOT, control_packet, write_head};

pub use limits::SocketIoLimits;
pub use packet::{Packet, PacketDecoder, PacketError, PacketType};
