//! What has gone over a connection?

use std::time::Duration;

use crate::StatusCode;

/// What has gone over a connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Whole messages received.
    pub messages_in: u64,
    /// Messages queued to be sent.
    pub messages_out: u64,
    /// Frames received: those of the messages, and control frames.
    pub frames_in: u64,
    /// Frames queued to be sent, likewise.
    pub frames_out: u64,
    /// Bytes read from the transport, with headers, as compressed as they came.
    pub bytes_in: u64,
    /// Bytes taken by the transport.
    pub bytes_out: u64,
    /// Bytes of payload that came compressed.
    pub before_inflate: u64,
    /// What they became.
    pub after_inflate: u64,
    /// Bytes of payload that were compressed to be sent.
    pub before_deflate: u64,
    /// What they became.
    pub after_deflate: u64,
    /// Bytes that wait for the transport.
    pub buffered: usize,
    /// The latest round trip of a ping.
    pub rtt: Option<Duration>,
    /// The code of the close frame that this side sent.
    pub close_sent: Option<StatusCode>,
    /// The code of the close frame that the peer sent.
    pub close_received: Option<StatusCode>,
}
