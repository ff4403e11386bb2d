//! What is told of the bytes that arrived?

use bytes::Bytes;

use super::CloseFrame;
use crate::Message;

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolEvent {
    /// A whole message, or in [`Mode::Pieces`] what is left of one.
    Message(Message),
    /// A ping, to be answered with [`Outbound::pong`](super::Outbound::pong).
    Ping(Bytes),
    /// A pong, asked for or not.
    Pong(Bytes),
    /// A close frame. Nothing after it is looked at.
    Close(CloseFrame),
}

/// What [`Inbound::receive`](super::Inbound::receive) made of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes of the input are done with. The rest must come again, with
    /// more behind it.
    pub consumed: usize,
    /// What arrived; `None` when more bytes are needed first, or, in
    /// [`Mode::Pieces`], when the piece is as long as it may be.
    pub event: Option<ProtocolEvent>,
}

/// How messages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whole.
    Whole,
    /// As they arrive, by [`Inbound::take_piece`](super::Inbound::take_piece), in pieces of at most this many
    /// bytes.
    Pieces(usize),
}
