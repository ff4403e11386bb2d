//! How did the connection end?

use crate::{CloseError, Error};

/// How a connection ended, as [`Conn::closed`](crate::conn::Conn::closed) tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloseInfo {
    /// The close frame that this side sent.
    pub sent: Option<CloseError>,
    /// The close frame that the peer sent.
    pub received: Option<CloseError>,
    /// Who began.
    pub by: CloseInitiator,
    /// What reading returns from now on.
    pub error: Error,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseInitiator {
    /// This side: its application, a fault it found, a deadline it keeps.
    Local,
    /// The peer, with a close frame.
    Peer,
    /// Nobody: the transport was cut.
    Transport,
}

impl CloseInfo {
    /// Was the closing handshake completed ([RFC 6455 §7.1.4])?
    ///
    /// [RFC 6455 §7.1.4]: https://www.rfc-editor.org/rfc/rfc6455#section-7.1.4
    pub const fn is_clean(&self) -> bool {
        self.sent.is_some() && self.received.is_some()
    }
}
