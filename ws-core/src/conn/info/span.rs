//! What does `tracing` learn of a connection?

use tracing::Span;
use tracing::field::{self, Empty};

use crate::conn::driver::connection::Shared;
use crate::conn::{Conn, ConnStats};

impl Conn {
    /// The span of this connection, for `tracing`: `websocket`, at level INFO.
    ///
    /// It says which connection it is, and when that has ended what [`stats`](Self::stats)
    /// said in the end, by the same names. Handlers that are run by this library run in it;
    /// elsewhere, enter it. It is made by the first call, below the span that is current
    /// then.
    ///
    /// ```
    /// use tracing::Instrument as _;
    /// use ws_core::{Conn, Error};
    ///
    /// async fn serve(conn: Conn) -> Result<(), Error> {
    ///     let span = conn.span();
    ///     async move {
    ///         let message = conn.read().await?;
    ///         tracing::info!(bytes = message.len(), "the first message");
    ///         Ok(())
    ///     }
    ///     .instrument(span)
    ///     .await
    /// }
    /// ```
    pub fn span(&self) -> Span {
        if let Some(span) = self.attributes().own(|own| own.span.clone()) {
            return span;
        }
        let span = tracing::info_span!(
            "websocket",
            conn = self.id(),
            role = ?self.role(),
            peer = self.peer_addr().map(field::display),
            subprotocol = self.subprotocol(),
            messages_in = Empty,
            messages_out = Empty,
            frames_in = Empty,
            frames_out = Empty,
            bytes_in = Empty,
            bytes_out = Empty,
            before_inflate = Empty,
            after_inflate = Empty,
            before_deflate = Empty,
            after_deflate = Empty,
            buffered = Empty,
            rtt = Empty,
            close_sent = Empty,
            close_received = Empty,
        );
        if span.is_disabled() {
            return span;
        }
        // Somebody else may have been quicker.
        self.attributes().change_own(|own| own.span.get_or_insert(span).clone())
    }
}

impl Shared {
    /// Writes down what has gone over the connection, which has ended.
    pub(crate) fn record(&self, stats: &ConnStats) {
        let Some(span) = self.facts.values.own(|own| own.span.clone()) else { return };
        span.record("messages_in", stats.messages_in)
            .record("messages_out", stats.messages_out)
            .record("frames_in", stats.frames_in)
            .record("frames_out", stats.frames_out)
            .record("bytes_in", stats.bytes_in)
            .record("bytes_out", stats.bytes_out)
            .record("before_inflate", stats.before_inflate)
            .record("after_inflate", stats.after_inflate)
            .record("before_deflate", stats.before_deflate)
            .record("after_deflate", stats.after_deflate)
            .record("buffered", stats.buffered);
        if let Some(rtt) = stats.rtt {
            span.record("rtt", field::debug(rtt));
        }
        if let Some(code) = stats.close_sent {
            span.record("close_sent", code.as_u16());
        }
        if let Some(code) = stats.close_received {
            span.record("close_received", code.as_u16());
        }
    }
}
