//! Which settings does an Engine.IO session have, and what does each bound?

use std::time::Duration;

/// The settings of Engine.IO sessions. The setters can be chained.
#[derive(Clone, Debug)]
#[must_use]
pub struct EngineConfig {
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
    pub(super) upgrade_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) max_payload: usize,
    pub(super) max_sessions: usize,
}

impl EngineConfig {
    /// The defaults, which are those of the official server except for `max_sessions`.
    pub const fn new() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            max_payload: 1_000_000,
            max_sessions: 10_000,
        }
    }

    /// The time from a pong to the next ping. Default: 25 s.
    pub const fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// The time within which a client has to answer a ping. Any packet extends it. A session whose
    /// client sends nothing ends after `ping_interval` and `ping_timeout`: 45 s by default.
    /// Default: 20 s.
    ///
    /// While the application leaves 64 messages or 64 KiB of a WebSocket unreceived, pongs behind them
    /// are not seen. Then all bytes that the WebSocket
    /// [reads ahead](ws_core::Conn#what-drives-the-connection) are an answer. If none arrive, or it
    /// cannot read more, the session ends once the application has received nothing for
    /// `ping_interval` and `ping_timeout`, although the client may be alive.
    ///
    /// After a session that polls has ended, its last packet waits for a GET for the same time.
    pub const fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.ping_timeout = timeout;
        self
    }

    /// The time for an upgrade, from the opening of the WebSocket to its `upgrade` packet. Beyond
    /// it, the WebSocket is closed, and the session continues to poll. Default: 10 s.
    pub const fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.upgrade_timeout = timeout;
        self
    }

    /// The time for which a session that closes waits until a GET fetches its last messages.
    /// Default: 5 s.
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// The maximum size of the body of a POST, and of a message of a WebSocket, in bytes. Clients
    /// learn it from the handshake. Default: 1,000,000. Up to 64 packets of a body may be no messages.
    pub const fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// The maximum number of sessions that poll. A session counts until it changes to a WebSocket, or
    /// has ended and its client knows it: its last packet may wait for a GET for as long as
    /// [`ping_timeout`](Self::ping_timeout). Further handshakes are refused. Default: 10,000.
    ///
    /// A client holds no connection while it polls, so nothing else bounds the sessions that
    /// clients open and leave. Each takes a few KiB. If its messages are not handled, it holds more:
    ///
    /// * two bodies of [`max_payload`](Self::max_payload), one of which is that of a POST that waits;
    /// * with Socket.IO, two packets that are decoded, and 64 KiB of others. A packet has a text of at
    ///   most `max_payload`, and
    ///   [`SocketIoLimits::attachment_bytes`](crate::socketio::SocketIoLimits::attachment_bytes). The text
    ///   that a packet in MessagePack becomes has up to six bytes for each of its bytes.
    ///
    /// In each namespace, a handler has one more packet, and as much as 64 KiB and one packet wait for it
    /// while it awaits an acknowledgement of this client. All this stays until the handlers return, also
    /// after the session has ended and counts no more.
    pub const fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// The maximum size of the body of a POST, in bytes.
    pub const fn payload_limit(&self) -> usize {
        self.max_payload
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self::new()
    }
}
