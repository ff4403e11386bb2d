//! Which states do the two sides of a connection have, and how are they read without a lock?

use std::marker::PhantomData;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use crate::proto::CloseState;

/// A state that is changed under a lock and read without one.
///
/// A reader without the lock may see the state before; it then takes the lock, and looks again.
pub(crate) struct StateCell<S>(AtomicU8, PhantomData<S>);

/// A state as a number.
pub(crate) trait StateCode: Copy {
    /// The number of this state.
    fn code(self) -> u8;

    /// The state of a number that [`code`](Self::code) has given.
    fn from_code(code: u8) -> Self;
}

impl<S: StateCode> StateCell<S> {
    pub(crate) fn new(state: S) -> Self {
        Self(AtomicU8::new(state.code()), PhantomData)
    }

    #[inline]
    pub(crate) fn load(&self) -> S {
        S::from_code(self.0.load(Relaxed))
    }

    #[inline]
    pub(crate) fn store(&self, state: S) {
        self.0.store(state.code(), Relaxed);
    }

    #[inline]
    pub(crate) fn is(&self, state: S) -> bool {
        self.0.load(Relaxed) == state.code()
    }
}

/// Numbers the variants of an enum.
macro_rules! number {
    ($state:ident: $($code:literal => $variant:ident),+; $last:ident) => {
        impl StateCode for $state {
            #[inline]
            fn code(self) -> u8 {
                self as u8
            }

            #[inline]
            fn from_code(code: u8) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    _ => Self::$last,
                }
            }
        }
    };
}

number!(CloseState: 0 => Open, 1 => Tunnel, 2 => HalfClosedRemote, 3 => AnswerHeld,
    4 => CloseSent, 5 => HalfClosedLocal, 6 => Closed; ClosedLocal);
number!(FlushState: 0 => Idle, 1 => Deferred, 2 => Scheduled, 3 => Draining; Stalled);

/// How queued bytes reach the transport.
///
/// | state     | defer     | unlock    | flushed | transport full        | runtime ends |
/// |-----------|-----------|-----------|---------|-----------------------|--------------|
/// | Idle      | Deferred  | -         | -       | Draining or Stalled   | -            |
/// | Deferred  | -         | Scheduled | Idle    | Draining or Stalled   | -            |
/// | Scheduled | -         | -         | Idle    | Draining or Stalled   | -            |
/// | Draining  | -         | -         | Idle    | -                     | Stalled      |
/// | Stalled   | a flush   | -         | Idle    | Draining or Stalled   | -            |
///
/// A full transport is left to a task (`Draining`) or, without a runtime, to the operations
/// that are polled (`Stalled`).
///
/// Changed under the writer's lock, except when a runtime ends, which drops the flush task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushState {
    /// The transport has all bytes, or has failed.
    Idle,
    /// Bytes wait for the answers to a burst, and no flush is scheduled yet.
    Deferred,
    /// Bytes wait for the answers to a burst, and leave on the next turn of the scheduler.
    Scheduled,
    /// The transport is full, and a task waits for it.
    Draining,
    /// The transport is full, and no runtime could run that task: polled operations flush.
    Stalled,
}

/// What happens to the messages that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// They are delivered whole.
    Messages,
    /// The open message is delivered in pieces, to its `MessageReader`.
    Streaming,
    /// A message fails the connection: the application expects none.
    Refusing,
    /// As `Streaming`, but the end of the open message fails the connection.
    StreamingLast,
    /// They are dropped: this side has closed.
    Discarding,
}

impl ReadMode {
    /// Whether a `MessageReader` is open.
    pub(crate) const fn is_streaming(self) -> bool {
        match self {
            Self::Streaming | Self::StreamingLast => true,
            Self::Messages | Self::Refusing | Self::Discarding => false,
        }
    }

    /// A `MessageReader` opens.
    pub(crate) const fn stream_opened(self) -> Self {
        match self {
            Self::Messages | Self::Streaming => Self::Streaming,
            Self::Refusing | Self::StreamingLast => Self::StreamingLast,
            Self::Discarding => Self::Discarding,
        }
    }

    /// The `MessageReader` has read its message, or is dropped.
    pub(crate) const fn stream_closed(self) -> Self {
        match self {
            Self::Messages | Self::Streaming => Self::Messages,
            Self::Refusing | Self::StreamingLast => Self::Refusing,
            Self::Discarding => Self::Discarding,
        }
    }

    /// The application expects no more messages.
    pub(crate) const fn refuse(self) -> Self {
        match self {
            Self::Messages | Self::Refusing => Self::Refusing,
            Self::Streaming | Self::StreamingLast => Self::StreamingLast,
            Self::Discarding => Self::Discarding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_gives_back_every_state() {
        use CloseState::{
            AnswerHeld, CloseSent, Closed, ClosedLocal, HalfClosedLocal, HalfClosedRemote, Open,
            Tunnel,
        };
        use FlushState::{Deferred, Draining, Idle, Scheduled, Stalled};
        let close = StateCell::new(Open);
        for state in [
            Open,
            Tunnel,
            HalfClosedRemote,
            AnswerHeld,
            CloseSent,
            HalfClosedLocal,
            Closed,
            ClosedLocal,
        ] {
            close.store(state);
            assert!(close.load() == state && close.is(state));
        }
        let flush = StateCell::new(Idle);
        for state in [Idle, Deferred, Scheduled, Draining, Stalled] {
            flush.store(state);
            assert!(flush.load() == state && flush.is(state));
        }
    }

    #[test]
    fn a_read_mode_follows_the_application() {
        use ReadMode::{Discarding, Messages, Refusing, Streaming, StreamingLast};
        // (mode, stream opened, stream closed, refuse)
        let table = [
            (Messages, Streaming, Messages, Refusing),
            (Streaming, Streaming, Messages, StreamingLast),
            (Refusing, StreamingLast, Refusing, Refusing),
            (StreamingLast, StreamingLast, Refusing, StreamingLast),
            (Discarding, Discarding, Discarding, Discarding),
        ];
        for (mode, opened, closed, refuse) in table {
            let found = (mode.stream_opened(), mode.stream_closed(), mode.refuse());
            assert_eq!(found, (opened, closed, refuse), "{mode:?}");
            assert_eq!(mode.is_streaming(), matches!(mode, Streaming | StreamingLast));
        }
    }
}
