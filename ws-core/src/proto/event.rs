//! Which events does the receiving half report?

use bytes::Bytes;

use super::CloseFrame;
use crate::Message;

/// An event of the receiving half, from [`Inbound::receive`](super::Inbound::receive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolEvent {
    /// A message is complete. In [`Mode::Pieces`], this holds the last piece.
    Message(Message),
    /// A ping. Answer it with [`Outbound::pong`](super::Outbound::pong).
    Ping(Bytes),
    /// A pong, solicited or not.
    Pong(Bytes),
    /// A close frame. Input after it is discarded.
    Close(CloseFrame),
}

/// The result of [`Inbound::receive`](super::Inbound::receive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The number of input bytes consumed. Pass the rest again, with more bytes after it.
    pub consumed: usize,
    /// The event. `None` when more input is needed or, in [`Mode::Pieces`], when the piece has
    /// reached its maximum length.
    pub event: Option<ProtocolEvent>,
}

/// How message payloads are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As whole messages.
    Whole,
    /// As they arrive, by [`Inbound::take_piece`](super::Inbound::take_piece), in pieces of at
    /// most this many bytes.
    Pieces(usize),
}
