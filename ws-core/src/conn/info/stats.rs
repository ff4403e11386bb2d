//! What has gone over a connection?

use std::time::Duration;

use crate::StatusCode;
use crate::conn::driver::connection::Shared;
use crate::conn::driver::reader::Reader;
use crate::conn::driver::writer::Writer;

/// What has gone over a connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnStats {
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

impl ConnStats {
    pub(crate) fn of(shared: &Shared) -> Self {
        let reader = shared.reader.lock();
        let writer = shared.writer.lock();
        Self::of_sides(shared, &reader, &writer)
    }

    /// Of who has the locks already.
    pub(crate) fn of_sides(shared: &Shared, reader: &Reader, writer: &Writer) -> Self {
        let (inbound, outbound) = (&reader.inbound, &writer.outbound);
        let (before_inflate, after_inflate) = inbound.inflated();
        let (before_deflate, after_deflate) = outbound.deflated();
        let received = shared.ending.get().and_then(|ending| ending.received.as_ref());
        Self {
            messages_in: reader.messages,
            messages_out: writer.messages,
            frames_in: reader.messages + u64::from(inbound.extra_frames()),
            frames_out: writer.messages + u64::from(outbound.extra_frames()),
            bytes_in: reader.bytes,
            bytes_out: outbound.sent(),
            before_inflate,
            after_inflate,
            before_deflate,
            after_deflate,
            buffered: outbound.buffered(),
            rtt: reader.pings.latest(),
            close_sent: outbound.close_frame().map(|frame| frame.as_error().code),
            close_received: received.map(|close| close.code),
        }
    }
}
