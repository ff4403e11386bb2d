//! Why does dialling fail in a browser?

#[cfg(feature = "reconnect")]
use std::time::Duration;

use ws_core::handshake::InvalidSubprotocol;

use crate::{DialTimeout, InvalidUrl};

/// Why dialling failed.
///
/// The first two variants are errors in the settings: nothing was sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DialError {
    /// The URL is not a valid WebSocket URL.
    Url(InvalidUrl),
    /// A subprotocol cannot be offered.
    Subprotocol(InvalidSubprotocol),
    /// The browser did not open the connection. It does not tell a program why, so that a page
    /// cannot explore the network of its user. Its console has the reason: DNS, TCP, TLS, the status
    /// of a refusal, the subprotocol of the response, or a policy of the page.
    Failed,
    /// The opening handshake took longer than
    /// [`Dial::connect_timeout`](crate::Dial::connect_timeout).
    Timeout(DialTimeout),
}

impl_error!(DialError {
    Self::Url(why) => "the URL is invalid: {why}";
    Self::Subprotocol(why) => "a subprotocol cannot be offered (`Dial::subprotocols`): {why}";
    Self::Failed => "the browser did not open the connection: its console has the reason";
    Self::Timeout(why) => "{why}";
});

impl_from!(DialError {
    InvalidUrl => Self::Url,
    InvalidSubprotocol => Self::Subprotocol,
});

impl DialError {
    /// Whether another attempt may succeed. A refusal with any status counts as temporary.
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Url(_) | Self::Subprotocol(_) => false,
            Self::Failed | Self::Timeout(_) => true,
        }
    }

    /// A browser does not show the headers of the response.
    #[cfg(feature = "reconnect")]
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        None
    }
}
