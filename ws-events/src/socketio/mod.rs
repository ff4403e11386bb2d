//! How does one Engine.IO session carry the packets of Socket.IO v5?
//!
//! A packet is a text, of a [`PacketType`], for one namespace. A binary packet is followed by its
//! attachments: binary messages for which its JSON has placeholders. [`PacketDecoder`] takes the
//! messages of a session and gives [`Packet`]s. It reads no clock, and does no I/O.
//!
//! With the feature `msgpack`, a session whose first message is binary has packets in MessagePack, as
//! `socket.io-msgpack-parser` writes them. The same limits and rules apply. Binary values in `auth`,
//! which the other format does not have, are base64 in its JSON.
//!
//! # Packets that are malformed
//!
//! | input | error |
//! | --- | --- |
//! | an unknown packet type, or an empty packet | [`PacketError::Type`] |
//! | `CONNECT_ERROR`, which only servers send | [`PacketError::Type`] |
//! | a number of attachments that is malformed, or not followed by `-` | [`PacketError::AttachmentCount`] |
//! | more attachments than [`SocketIoLimits::attachments`] | [`PacketError::TooManyAttachments`] |
//! | more bytes of attachments than [`SocketIoLimits::attachment_bytes`] | [`PacketError::AttachmentsTooLong`] |
//! | text before the attachments are complete, or binary without a packet | [`PacketError::AttachmentOrder`] |
//! | a placeholder without its attachment, in a packet with attachments | [`PacketError::AttachmentOrder`] |
//! | JSON nested deeper than 127 values, in a packet with attachments | [`PacketError::Payload`] |
//! | a namespace longer than [`SocketIoLimits::namespace_bytes`] | [`PacketError::NamespaceTooLong`] |
//! | an id that is not a 64-bit number; an `ACK` without an id | [`PacketError::Id`] |
//! | `CONNECT` with JSON that is not an object; `DISCONNECT` with data | [`PacketError::Payload`] |
//! | an `auth` longer than [`SocketIoLimits::auth_bytes`] | [`PacketError::AuthTooLong`] |
//! | `EVENT` whose JSON is not an array, or does not begin with a name; `ACK` whose JSON is not an array | [`PacketError::Payload`] |
//! | a name that Socket.IO reserves, such as `connect` or `disconnecting` | [`PacketError::ReservedName`] |
//! | a name longer than [`SocketIoLimits::event_name_bytes`] | [`PacketError::NameTooLong`] |
//!
//! The same holds for the fields of a packet in MessagePack. More errors are possible there:
//!
//! | input in MessagePack | error |
//! | --- | --- |
//! | text after the first packet, which was binary | [`PacketError::Type`] |
//! | bytes that are not one map, or more bytes behind it | [`PacketError::Payload`] |
//! | a key that is neither a text nor a small number | [`PacketError::Payload`] |
//! | a text that is not UTF-8, or a value of an unknown type | [`PacketError::Payload`] |
//! | values nested deeper than 64 | [`PacketError::Payload`] |
//! | no `type`, or one that is not 0, 1, 2 or 3 | [`PacketError::Type`] |
//! | no `nsp`, or one that does not begin with `/` | [`PacketError::Payload`] |
//! | a map with `_placeholder: true` beside binary data | [`PacketError::Payload`] |
//!
//! Each of them ends the session, as the specification demands. Clients report `transport close`.
//!
//! # Packets that are not expected
//!
//! | input | result |
//! | --- | --- |
//! | `EVENT`, `ACK` or `DISCONNECT` for a namespace in which the client is not | the session ends |
//! | the same, and the server has just told the client to leave the namespace | ignored |
//! | `EVENT` or `ACK` before the server has accepted the client | the session ends |
//! | `CONNECT` to a namespace in which the client is | the session ends |
//! | `CONNECT` to more namespaces than [`SocketIoLimits::namespaces`] | the session ends |
//! | `CONNECT` to a namespace that does not exist | `CONNECT_ERROR`, `Invalid namespace` |
//! | no namespace within [`SocketIoLimits::connect_timeout`] | the session ends |
//! | an `ACK` that nobody waits for, such as a second one | ignored |
//! | an event whose name is empty, or that of an event of this crate, such as `ping` | [`EventError::Malformed`](crate::EventError::Malformed) |
//! | two placeholders for one attachment | [`EventError::InvalidArgument`](crate::EventError::InvalidArgument) of a handler that takes the bytes |

#[cfg(feature = "msgpack")]
mod date;
mod json;
mod limits;
#[cfg(feature = "msgpack")]
pub(crate) mod msgpack;
mod packet;
mod placeholders;
#[cfg(feature = "msgpack")]
mod transcode;

pub(crate) use json::{JsonPart, JsonParts};
pub(crate) use packet::{PacketFormat, ROOT, control_packet, write_head};
pub(crate) use placeholders::{
    AttachmentBudget, PLACEHOLDER, check_placeholders, inline_base64, order_placeholders,
};
#[cfg(feature = "socketio-adapter")]
pub(crate) use transcode::transcode;

pub use limits::SocketIoLimits;
pub use packet::{Packet, PacketDecoder, PacketError, PacketType};
