//! Which state of its life is a connection in, and what does an event do to it?
//!
//! The closing handshake of RFC 6455 §7.1 as a pure value. A connection begins here after the
//! opening handshake, in `Open`.
//!
//! ```text
//!           Close                  CloseReceived
//! Open ─────────────► CloseSent ──────────────────┐
//!  │ │                    ▲                       ▼
//!  │ │                    │ Close            ClosedLocal
//!  │ │ HalfClose          │                       ▲
//!  │ └──────────────► HalfClosedLocal ────────────┘
//!  │                               CloseReceived
//!  │ CloseReceived
//!  ├────────────────────────────────────────► Closed
//!  │                                            ▲
//!  │ AllowHalfClose                             │ HalfClose, GoAway
//!  ▼         CloseReceived                      │
//! Tunnel ─────────────────► HalfClosedRemote ───┘
//! ```
//!
//! `Tunnel` leaves by `Close` and `HalfClose` as `Open` does. `HalfClosedRemote` leaves by `Close`
//! to `ClosedLocal`. `CloseHeld` leads from `Open` to `AnswerHeld`, which leaves as
//! `HalfClosedRemote` does, and by `Answer` to `Closed`. `Fail`, `PingTimeout`, `GoAway`, `Abort`
//! and `TransportEnded` lead from every state to `Closed`, or to `ClosedLocal` after `Close` or
//! `HalfClose`. These two are the end for the application; the transport may still linger.

/// Where a connection is between the opening handshake and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseState {
    /// Both sides may send. The peer's close frame is answered at once (§5.5.1).
    Open,
    /// Both sides may send, and each closes its own direction, as in TCP.
    Tunnel,
    /// The peer's close frame has arrived and is not answered: this side may still send.
    HalfClosedRemote,
    /// The same in a connection that is no tunnel: the application answers, within a deadline.
    AnswerHeld,
    /// This side has sent its close frame, and drops what arrives before the peer's.
    CloseSent,
    /// This side has sent its close frame, and delivers what arrives before the peer's.
    HalfClosedLocal,
    /// Nothing more is read or written.
    Closed,
    /// As `Closed`, and the application of this side has closed.
    ClosedLocal,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseEvent {
    /// The application uses the connection as a byte stream.
    AllowHalfClose,
    /// The application closes the connection.
    Close,
    /// The application has nothing more to send, and reads on.
    HalfClose,
    /// The peer's close frame has arrived.
    CloseReceived,
    /// The peer's close frame has arrived, and the application decides when to answer.
    CloseHeld,
    /// The application leaves the answer to the connection.
    Answer,
    /// The application drops a message that it has begun to send.
    AbandonMessage,
    /// This side fails the connection (§7.1.7).
    Fail,
    /// The peer has not answered a keepalive ping.
    PingTimeout,
    /// This side goes away: a deadline has passed, or the last handle is dropped.
    GoAway,
    /// The application or a deadline ends the connection without a close frame.
    Abort,
    /// The transport has ended.
    TransportEnded,
}

/// What the connection has to do about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseAction {
    /// Nothing.
    Ignore,
    /// Send the close frame behind what is queued, and drop what arrives.
    SendClose,
    /// Send the close frame behind what is queued, and read on.
    SendHalfClose,
    /// Drop what arrives: the close frame is sent already.
    DropIncoming,
    /// Keep the peer's close frame until this side closes too.
    HoldClose,
    /// Keep the peer's close frame until the application answers, or a deadline passes.
    AwaitAnswer,
    /// Answer the peer's close frame with its code and reason, and end.
    AnswerClose,
    /// Answer the peer's close frame with that of the application, and end.
    SendFinalClose,
    /// End: both close frames have been exchanged.
    FinishClose,
    /// Send a close frame ahead of what is queued, unless one is sent, and end.
    Fail,
    /// Send a close frame ahead of what is queued, and end without waiting for the transport.
    FailAndAbort,
    /// Send a close frame behind what is queued, unless one is sent, and end.
    GoAway,
    /// End without waiting for the transport.
    Abort,
    /// End: there is no transport to wait for.
    NoteDisconnect,
}

impl CloseState {
    /// The next state, and what to do on the way to it.
    pub(crate) const fn on(self, event: CloseEvent) -> (Self, CloseAction) {
        use CloseAction as Do;
        match event {
            CloseEvent::AllowHalfClose => match self {
                Self::Open | Self::Tunnel => (Self::Tunnel, Do::Ignore),
                Self::HalfClosedRemote
                | Self::AnswerHeld
                | Self::CloseSent
                | Self::HalfClosedLocal
                | Self::Closed
                | Self::ClosedLocal => (self, Do::Ignore),
            },
            CloseEvent::Close => match self {
                Self::Open | Self::Tunnel => (Self::CloseSent, Do::SendClose),
                Self::HalfClosedLocal => (Self::CloseSent, Do::DropIncoming),
                Self::HalfClosedRemote | Self::AnswerHeld => {
                    (Self::ClosedLocal, Do::SendFinalClose)
                }
                Self::CloseSent | Self::Closed | Self::ClosedLocal => (self, Do::Ignore),
            },
            CloseEvent::HalfClose => match self {
                Self::Open | Self::Tunnel => (Self::HalfClosedLocal, Do::SendHalfClose),
                Self::HalfClosedRemote | Self::AnswerHeld => self.end(Do::AnswerClose),
                Self::CloseSent | Self::HalfClosedLocal | Self::Closed | Self::ClosedLocal => {
                    (self, Do::Ignore)
                }
            },
            CloseEvent::CloseReceived => match self {
                Self::Open => self.end(Do::AnswerClose),
                Self::Tunnel => (Self::HalfClosedRemote, Do::HoldClose),
                Self::CloseSent | Self::HalfClosedLocal => self.end(Do::FinishClose),
                Self::HalfClosedRemote | Self::AnswerHeld | Self::Closed | Self::ClosedLocal => {
                    (self, Do::Ignore)
                }
            },
            CloseEvent::CloseHeld => match self {
                Self::Open => (Self::AnswerHeld, Do::AwaitAnswer),
                Self::Tunnel
                | Self::HalfClosedRemote
                | Self::AnswerHeld
                | Self::CloseSent
                | Self::HalfClosedLocal
                | Self::Closed
                | Self::ClosedLocal => self.on(CloseEvent::CloseReceived),
            },
            CloseEvent::Answer => match self {
                Self::AnswerHeld => self.end(Do::AnswerClose),
                Self::Open
                | Self::Tunnel
                | Self::HalfClosedRemote
                | Self::CloseSent
                | Self::HalfClosedLocal
                | Self::Closed
                | Self::ClosedLocal => (self, Do::Ignore),
            },
            CloseEvent::AbandonMessage => match self {
                Self::Open | Self::Tunnel | Self::HalfClosedRemote | Self::AnswerHeld => {
                    self.end(Do::Fail)
                }
                Self::CloseSent | Self::HalfClosedLocal | Self::Closed | Self::ClosedLocal => {
                    (self, Do::Ignore)
                }
            },
            CloseEvent::GoAway => match self {
                Self::HalfClosedRemote | Self::AnswerHeld => self.end(Do::AnswerClose),
                Self::Open
                | Self::Tunnel
                | Self::CloseSent
                | Self::HalfClosedLocal
                | Self::Closed
                | Self::ClosedLocal => self.end(Do::GoAway),
            },
            CloseEvent::Fail => self.end(Do::Fail),
            CloseEvent::PingTimeout => self.end(Do::FailAndAbort),
            CloseEvent::Abort => self.end(Do::Abort),
            CloseEvent::TransportEnded => self.end(Do::NoteDisconnect),
        }
    }

    /// The end, unless the connection has ended before.
    const fn end(self, action: CloseAction) -> (Self, CloseAction) {
        match self {
            Self::Open | Self::Tunnel | Self::HalfClosedRemote | Self::AnswerHeld => {
                (Self::Closed, action)
            }
            Self::CloseSent | Self::HalfClosedLocal => (Self::ClosedLocal, action),
            Self::Closed | Self::ClosedLocal => (self, CloseAction::Ignore),
        }
    }

    /// Whether this is the end for the application.
    pub(crate) const fn has_ended(self) -> bool {
        match self {
            Self::Closed | Self::ClosedLocal => true,
            Self::Open
            | Self::Tunnel
            | Self::HalfClosedRemote
            | Self::AnswerHeld
            | Self::CloseSent
            | Self::HalfClosedLocal => false,
        }
    }

    /// Whether this side may send data.
    #[inline]
    pub(crate) const fn can_send(self) -> bool {
        match self {
            Self::Open | Self::Tunnel | Self::HalfClosedRemote | Self::AnswerHeld => true,
            Self::CloseSent | Self::HalfClosedLocal | Self::Closed | Self::ClosedLocal => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CloseAction as Do;
    use super::CloseEvent::{
        AbandonMessage, Abort, AllowHalfClose, Answer, Close, CloseHeld, CloseReceived, Fail,
        GoAway, HalfClose, PingTimeout, TransportEnded,
    };
    use super::CloseState::{
        AnswerHeld, CloseSent, Closed, ClosedLocal, HalfClosedLocal, HalfClosedRemote, Open, Tunnel,
    };

    /// One row per state, one column per event: the whole table.
    #[test]
    #[rustfmt::skip]
    fn every_event_in_every_state_has_one_outcome() {
        let events = [
            AllowHalfClose, Close, HalfClose, CloseReceived, CloseHeld, Answer, AbandonMessage,
            Fail, PingTimeout, GoAway, Abort, TransportEnded,
        ];
        let stay = |state| (state, Do::Ignore);
        let end = |action| (Closed, action);
        let end_local = |action| (ClosedLocal, action);
        let table = [
            (Open, [
                stay(Tunnel), (CloseSent, Do::SendClose), (HalfClosedLocal, Do::SendHalfClose),
                end(Do::AnswerClose), (AnswerHeld, Do::AwaitAnswer), stay(Open), end(Do::Fail),
                end(Do::Fail), end(Do::FailAndAbort), end(Do::GoAway), end(Do::Abort),
                end(Do::NoteDisconnect),
            ]),
            (Tunnel, [
                stay(Tunnel), (CloseSent, Do::SendClose), (HalfClosedLocal, Do::SendHalfClose),
                (HalfClosedRemote, Do::HoldClose), (HalfClosedRemote, Do::HoldClose), stay(Tunnel),
                end(Do::Fail),
                end(Do::Fail), end(Do::FailAndAbort), end(Do::GoAway), end(Do::Abort),
                end(Do::NoteDisconnect),
            ]),
            (HalfClosedRemote, [
                stay(HalfClosedRemote), end_local(Do::SendFinalClose), end(Do::AnswerClose),
                stay(HalfClosedRemote), stay(HalfClosedRemote), stay(HalfClosedRemote), end(Do::Fail),
                end(Do::Fail), end(Do::FailAndAbort), end(Do::AnswerClose), end(Do::Abort),
                end(Do::NoteDisconnect),
            ]),
            (AnswerHeld, [
                stay(AnswerHeld), end_local(Do::SendFinalClose), end(Do::AnswerClose),
                stay(AnswerHeld), stay(AnswerHeld), end(Do::AnswerClose), end(Do::Fail),
                end(Do::Fail), end(Do::FailAndAbort), end(Do::AnswerClose), end(Do::Abort),
                end(Do::NoteDisconnect),
            ]),
            (CloseSent, [
                stay(CloseSent), stay(CloseSent), stay(CloseSent),
                end_local(Do::FinishClose), end_local(Do::FinishClose), stay(CloseSent), stay(CloseSent),
                end_local(Do::Fail), end_local(Do::FailAndAbort), end_local(Do::GoAway),
                end_local(Do::Abort), end_local(Do::NoteDisconnect),
            ]),
            (HalfClosedLocal, [
                stay(HalfClosedLocal), (CloseSent, Do::DropIncoming), stay(HalfClosedLocal),
                end_local(Do::FinishClose), end_local(Do::FinishClose), stay(HalfClosedLocal),
                stay(HalfClosedLocal),
                end_local(Do::Fail), end_local(Do::FailAndAbort), end_local(Do::GoAway),
                end_local(Do::Abort), end_local(Do::NoteDisconnect),
            ]),
            (Closed, [stay(Closed); 12]),
            (ClosedLocal, [stay(ClosedLocal); 12]),
        ];
        for (state, row) in table {
            for (event, expected) in events.into_iter().zip(row) {
                assert_eq!(state.on(event), expected, "{state:?}, {event:?}");
            }
        }
    }

    #[test]
    fn nothing_is_sent_after_a_close_frame() {
        for state in [Open, Tunnel, HalfClosedRemote, AnswerHeld] {
            assert!(state.can_send(), "{state:?}");
        }
        for state in [CloseSent, HalfClosedLocal, Closed, ClosedLocal] {
            assert!(!state.can_send(), "{state:?}");
        }
    }
}
