//! In which state is a socket: connecting, connected, closing or disconnected?
//!
//! ```text
//!             Admit               Close, StopSending           End
//! Connecting ───────▶ Connected ────────────────────▶ Closing ─────▶ Disconnected
//!     │                   │                              ▲                ▲
//!     ├───── Close, StopSending ─────────────────────────┘                │
//!     └───────────────────┴─────────────────── End ───────────────────────┘
//! ```
//!
//! All other events leave the state as it is. The state is kept in the socket's send queue,
//! under its lock, since each message checks it.

/// The life of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum SocketState {
    /// Middleware has not accepted it yet. Messages are queued.
    Connecting,
    /// It is in the hub.
    Connected,
    /// It accepts no more messages. Its task sends the close frame, or the connection is lost.
    Closing,
    /// It has left the hub. Of events, only those of rooms are still accepted.
    Disconnected,
}

/// What happens to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketEvent {
    /// Middleware and the hub accept it.
    Admit,
    /// The application or the hub closes it, or it is a slow consumer.
    Close,
    /// Its connection accepts no more messages.
    StopSending,
    /// Its connection has ended, or its task was dropped.
    End,
}

impl SocketState {
    /// The state after an event.
    pub(crate) const fn on(self, event: SocketEvent) -> Self {
        use SocketEvent::{Admit, Close, End, StopSending};
        match (self, event) {
            (Self::Connecting | Self::Connected, Admit) => Self::Connected,
            (Self::Connecting | Self::Connected, Close | StopSending)
            | (Self::Closing, Admit | Close | StopSending) => Self::Closing,
            (Self::Disconnected, _) | (_, End) => Self::Disconnected,
        }
    }

    /// Whether messages are accepted.
    #[inline]
    pub(crate) const fn accepts_messages(self) -> bool {
        matches!(self, Self::Connecting | Self::Connected)
    }
}

#[cfg(test)]
mod tests {
    use super::SocketEvent::{Admit, Close, End, StopSending};
    use super::SocketState::{Closing, Connected, Connecting, Disconnected};

    #[test]
    fn each_event_in_each_state_leads_to_one_state() {
        for (state, event, expected) in [
            (Connecting, Admit, Connected),
            (Connecting, Close, Closing),
            (Connecting, StopSending, Closing),
            (Connecting, End, Disconnected),
            (Connected, Admit, Connected),
            (Connected, Close, Closing),
            (Connected, StopSending, Closing),
            (Connected, End, Disconnected),
            // Middleware may close a socket and accept it.
            (Closing, Admit, Closing),
            (Closing, Close, Closing),
            (Closing, StopSending, Closing),
            (Closing, End, Disconnected),
            (Disconnected, Admit, Disconnected),
            (Disconnected, Close, Disconnected),
            (Disconnected, StopSending, Disconnected),
            (Disconnected, End, Disconnected),
        ] {
            assert_eq!(state.on(event), expected, "{state:?}, {event:?}");
        }
    }

    #[test]
    fn messages_are_accepted_until_a_socket_is_closing() {
        let accepting = [Connecting, Connected, Closing, Disconnected]
            .map(super::SocketState::accepts_messages);
        assert_eq!(accepting, [true, true, false, false]);
    }
}
