//! For what did an opening handshake wait when its time was over?

use std::fmt;
use std::time::Duration;

/// The timeout of an opening handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DialTimeout {
    /// The value of [`Dial::connect_timeout`](crate::Dial::connect_timeout).
    pub limit: Duration,
    /// The host and the port of the server: those of the URL, or of a redirect. In a browser, without
    /// a default port.
    pub server: Box<str>,
    /// The step that was not done. `None` if it is not known: in a browser, and with
    /// `Dial::client`.
    pub step: Option<DialStep>,
}

/// A step of an opening handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialStep {
    /// The connection: the DNS lookup, TCP, the proxy. Of HTTP/2 also its settings.
    Connection,
    /// The TLS handshake with the server.
    Tls,
    /// The response to the request.
    Response,
}

impl fmt::Display for DialTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, server, step } = self;
        let waiting = match step {
            None => "",
            Some(DialStep::Connection) => ", waiting for the connection",
            Some(DialStep::Tls) => ", waiting for the TLS handshake",
            Some(DialStep::Response) => ", waiting for the response",
        };
        write!(
            f,
            "the opening handshake with {server} took longer than {limit:?} \
             (`Dial::connect_timeout`){waiting}"
        )
    }
}
