//! Which metrics does a connection have, and when does it hand over its counts?
//!
//! A connection counts for itself, with or without metrics. What it has counted is handed to the
//! recorder of the `metrics` crate every [`PERIOD`] and at the end, so that a message costs nothing.

use std::sync::Once;

use metrics::{Unit, counter, gauge, histogram};
use tokio::time::Instant;

use super::stats::ConnStats;
use crate::StatusCode;
use crate::close_info::CloseInitiator;
use crate::proto::Role;

/// The kinds, names, units and descriptions. OBSERVABILITY.md has the same table with the labels.
pub(crate) const METRICS: [(Kind, &str, Unit, &str); 11] = [
    (Kind::Counter, OPENED, Unit::Count, "Connections that have opened"),
    (Kind::Counter, CLOSED, Unit::Count, "Connections that have ended"),
    (Kind::Gauge, ACTIVE, Unit::Count, "Connections that are open now"),
    (Kind::Histogram, DURATION, Unit::Seconds, "How long connections were open"),
    (Kind::Counter, REFUSED, Unit::Count, "Opening handshakes that the server refused"),
    (Kind::Histogram, HANDSHAKE, Unit::Seconds, "How long successful opening handshakes took"),
    (Kind::Counter, MESSAGES, Unit::Count, "Messages"),
    (Kind::Counter, IO, Unit::Bytes, "Bytes on the transport, with headers, compressed"),
    (Kind::Counter, COMPRESSION, Unit::Bytes, "Payload of compressed messages, in both forms"),
    (Kind::Histogram, PING, Unit::Seconds, "Round-trip times of pings"),
    (Kind::Gauge, SEND_BUFFER, Unit::Bytes, "Bytes in send buffers now"),
];

const OPENED: &str = "websocket.connections.opened";
const CLOSED: &str = "websocket.connections.closed";
const ACTIVE: &str = "websocket.connections.active";
const DURATION: &str = "websocket.connection.duration";
const REFUSED: &str = "websocket.handshakes.refused";
const HANDSHAKE: &str = "websocket.handshake.duration";
const MESSAGES: &str = "websocket.messages";
const IO: &str = "websocket.io";
const COMPRESSION: &str = "websocket.compression.payload";
const PING: &str = "websocket.ping.duration";
const SEND_BUFFER: &str = "websocket.send_buffer.usage";

const RECEIVE: &str = "receive";
const TRANSMIT: &str = "transmit";

/// The kinds of metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What of a connection was handed over. Boxed, since the connection is cold between two periods.
pub(crate) struct ConnMetrics(Box<HandedOver>);

struct HandedOver {
    role: Role,
    opened: Instant,
    stats: ConnStats,
    is_active: bool,
    /// The last keepalive ping, until it is answered.
    ping: Option<(u64, Instant)>,
}

impl ConnMetrics {
    /// Whether there are metrics.
    pub(crate) const IS_ON: bool = true;

    /// A connection opens.
    pub(crate) fn opened(role: Role) -> Self {
        describe();
        counter!(OPENED, "role" => role.name()).increment(1);
        gauge!(ACTIVE, "role" => role.name()).increment(1);
        let (opened, stats) = (Instant::now(), ConnStats::default());
        Self(Box::new(HandedOver { role, opened, stats, is_active: true, ping: None }))
    }

    /// A keepalive ping was sent.
    pub(crate) fn ping_sent(&mut self, payload: [u8; 8]) {
        self.0.ping = Some((u64::from_ne_bytes(payload), Instant::now()));
    }

    /// A pong has arrived that answers no ping of the application.
    pub(crate) fn pong_received(&mut self, payload: &[u8]) {
        let answered = |(sent, _): &mut (u64, Instant)| sent.to_ne_bytes() == *payload;
        if let Some((_, sent)) = self.0.ping.take_if(answered) {
            self.rtt(sent.elapsed());
        }
    }

    /// A ping was answered.
    pub(crate) fn rtt(&self, rtt: std::time::Duration) {
        histogram!(PING, "role" => self.0.role.name()).record(rtt);
    }

    /// Hands over what was counted since the last time.
    pub(crate) fn hand_over(&mut self, now: &ConnStats) {
        let before = std::mem::replace(&mut self.0.stats, *now);
        let role = self.0.role.name();
        let count = |name, direction, before: u64, now: u64| {
            if let Some(more @ 1..) = now.checked_sub(before) {
                counter!(name, "role" => role, "direction" => direction).increment(more);
            }
        };
        count(MESSAGES, RECEIVE, before.messages_in, now.messages_in);
        count(MESSAGES, TRANSMIT, before.messages_out, now.messages_out);
        count(IO, RECEIVE, before.bytes_in, now.bytes_in);
        count(IO, TRANSMIT, before.bytes_out, now.bytes_out);
        let compression = |direction, form: &'static str, before: u64, now: u64| {
            if let Some(more @ 1..) = now.checked_sub(before) {
                counter!(COMPRESSION, "role" => role, "direction" => direction, "form" => form)
                    .increment(more);
            }
        };
        compression(RECEIVE, "compressed", before.before_inflate, now.before_inflate);
        compression(RECEIVE, "uncompressed", before.after_inflate, now.after_inflate);
        compression(TRANSMIT, "uncompressed", before.before_deflate, now.before_deflate);
        compression(TRANSMIT, "compressed", before.after_deflate, now.after_deflate);
        if before.buffered != now.buffered {
            let change = now.buffered as f64 - before.buffered as f64;
            gauge!(SEND_BUFFER, "role" => role).increment(change);
        }
    }

    /// The connection ends.
    pub(crate) fn ended(&mut self, by: CloseInitiator, code: StatusCode, stats: &ConnStats) {
        // Nothing is sent any more.
        self.hand_over(&ConnStats { buffered: 0, ..*stats });
        if std::mem::replace(&mut self.0.is_active, false) {
            let role = self.0.role.name();
            counter!(CLOSED, "role" => role, "by" => by.name(), "code" => code_label(by, code))
                .increment(1);
            gauge!(ACTIVE, "role" => role).decrement(1);
            histogram!(DURATION, "role" => role).record(self.0.opened.elapsed());
        }
    }
}

/// The label of a close code. Codes that a peer chooses are grouped, so that it cannot make as many
/// time series as there are codes.
fn code_label(by: CloseInitiator, code: StatusCode) -> String {
    match (by, code.as_u16()) {
        (CloseInitiator::Local, code) | (_, code @ 1000..=1015) => code.to_string(),
        (_, code) => format!("{}xxx", code / 1000),
    }
}

/// An opening handshake was refused.
#[cfg(feature = "server")]
pub(crate) fn refused(kind: crate::refusal_log::RefusalKind) {
    describe();
    let status = kind.status.as_u16().to_string();
    counter!(REFUSED, "reason" => kind.reason, "status" => status).increment(1);
}

/// An opening handshake has succeeded that began at this instant.
pub(crate) fn handshake_completed(role: Role, began: Instant) {
    describe();
    histogram!(HANDSHAKE, "role" => role.name()).record(began.elapsed());
}

/// Describes all metrics to the recorder, once.
fn describe() {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        for (kind, name, unit, text) in METRICS {
            match kind {
                Kind::Counter => metrics::describe_counter!(name, unit, text),
                Kind::Gauge => metrics::describe_gauge!(name, unit, text),
                Kind::Histogram => metrics::describe_histogram!(name, unit, text),
            }
        }
    });
}
