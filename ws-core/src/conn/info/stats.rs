//! How many messages, frames and bytes has a connection carried?

use std::time::Duration;

use crate::StatusCode;

/// The statistics of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnStats {
    /// Whole messages received.
    pub messages_in: u64,
    /// Messages queued to be sent.
    pub messages_out: u64,
    /// Frames received, data and control.
    pub frames_in: u64,
    /// Frames queued to be sent, data and control.
    pub frames_out: u64,
    /// Bytes read from the transport, with headers, before decompression.
    pub bytes_in: u64,
    /// Bytes taken by the transport.
    pub bytes_out: u64,
    /// Compressed payload bytes received.
    pub before_inflate: u64,
    /// The same after decompression.
    pub after_inflate: u64,
    /// Payload bytes that were compressed to be sent.
    pub before_deflate: u64,
    /// The same after compression.
    pub after_deflate: u64,
    /// Bytes queued for the transport.
    pub buffered: usize,
    /// The latest round-trip time of a ping.
    pub rtt: Option<Duration>,
    /// The code of the close frame that this side sent.
    pub close_sent: Option<StatusCode>,
    /// The code of the close frame that the peer sent.
    pub close_received: Option<StatusCode>,
}
