//! The opening handshake, on `http` types and without I/O: offer, answer, agreed.

use crate::deflate::Params;

/// What the opening handshake agreed on, which is what a connection starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// The subprotocol, if one was agreed on.
    pub subprotocol: Option<String>,
    /// The parameters of `permessage-deflate`, if it was agreed on.
    pub compression: Option<Params>,
}
