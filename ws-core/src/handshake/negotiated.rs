//! What did the opening handshake negotiate?

use crate::deflate::Params;

/// The result of the opening handshake, from which a connection starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// The subprotocol, if one was negotiated.
    pub subprotocol: Option<String>,
    /// The parameters of `permessage-deflate`, if it was negotiated.
    pub compression: Option<Params>,
}
