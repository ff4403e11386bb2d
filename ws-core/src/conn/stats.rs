//! What has gone over a connection?

use std::time::Duration;

use super::shared::Shared;

/// What has gone over a connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Whole messages received.
    pub messages_in: u64,
    /// Messages queued to be sent.
    pub messages_out: u64,
    /// Bytes read from the transport, with headers, as compressed as they came.
    pub bytes_in: u64,
    /// Bytes taken by the transport.
    pub bytes_out: u64,
    /// Bytes that wait for the transport.
    pub buffered: usize,
    /// The latest round trip of a ping.
    pub rtt: Option<Duration>,
}

impl Stats {
    pub(super) fn of(shared: &Shared) -> Self {
        let reader = shared.reader.lock();
        let writer = shared.writer.lock();
        Self {
            messages_in: reader.messages,
            messages_out: writer.messages,
            bytes_in: reader.bytes,
            bytes_out: writer.outbound.sent(),
            buffered: writer.outbound.queue().len(),
            rtt: reader.pings.latest(),
        }
    }
}
