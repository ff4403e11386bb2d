//! Which states does a `ReconnectingConn` have, and which events change them?

use std::time::Duration;

use super::events::ReconnectState;
use super::failure::{ConnectionFailure, ReconnectError};
use crate::{Error, StatusCode};

/// The life of a `ReconnectingConn`, without I/O. `C` is the connection.
///
/// ```text
///                Established
///  ┌────────────┐──────────▶┌───────────┐
///  │ Connecting │           │ Connected │
///  └────────────┘           └───────────┘
///     ▲      │ Retry     Retry │
///     │      ▼                 │
///     │   ┌─────────┐◀─────────┘
///     └───│ Waiting │
///   Wait- └─────────┘
///  Elapsed
///
///  Connecting, Connected             ── GiveUp ─────────▶ Ended
///  Connecting, Connected, Waiting    ── CloseRequested ─▶ Closing ── Closed ──▶ Ended
///  every state but Ended             ── TaskEnded ──────▶ Ended
/// ```
#[derive(Clone, Debug)]
pub(super) enum Lifecycle<C> {
    /// Dialling. `attempt` counts from 1. It restarts after a connection that lasted long enough.
    Connecting { attempt: u32 },
    /// `on_connect` is done, and the connection is used.
    Connected { conn: C },
    /// The next attempt starts after `wait`. `failed` attempts in a row have failed.
    Waiting { failed: u32, failure: ConnectionFailure, wait: Duration },
    /// The task closes the connection, if there is one.
    Closing { conn: Option<C>, close: CloseRequest },
    /// There are no more attempts.
    Ended { error: ReconnectError, close_result: Result<(), Error> },
}

/// The code and reason of `close`, or `None` after the last handle was dropped.
pub(super) type CloseRequest = Option<(StatusCode, String)>;

#[derive(Clone, Debug)]
pub(super) enum LifecycleEvent<C> {
    /// An attempt has succeeded, `on_connect` included.
    Established(C),
    /// An attempt has failed or the connection was lost, and another attempt follows.
    Retry {
        failure: ConnectionFailure,
        failed: u32,
        wait: Duration,
    },
    /// An attempt has failed or the connection was lost, and no attempt follows.
    GiveUp(ConnectionFailure),
    WaitElapsed,
    CloseRequested(CloseRequest),
    /// The connection is closed, with the result of `Conn::close`.
    Closed(Result<(), Error>),
    /// The task was dropped by its runtime, or a hook panicked.
    TaskEnded,
}

/// What the task does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action<C> {
    Dial {
        attempt: u32,
    },
    Serve {
        attempt: u32,
        conn: C,
    },
    Wait(Duration),
    Close,
    Stop,
    /// The event does not change the state.
    Nothing,
}

impl<C: Clone> Lifecycle<C> {
    /// The first state. Its action is to dial.
    pub(super) const fn new() -> (Self, Action<C>) {
        (Self::Connecting { attempt: 1 }, Action::Dial { attempt: 1 })
    }

    pub(super) fn on(&mut self, event: LifecycleEvent<C>) -> Action<C> {
        use LifecycleEvent as Event;
        let ended = |error, close_result| (Self::Ended { error, close_result }, Action::Stop);
        let closing = |conn, close| (Self::Closing { conn, close }, Action::Close);
        let (next, action) = match (&*self, event) {
            (Self::Ended { .. }, _) => return Action::Nothing,
            (_, Event::TaskEnded) => ended(ReconnectError::Stopped, Ok(())),

            (Self::Connecting { attempt }, Event::Established(conn)) => {
                let action = Action::Serve { attempt: *attempt, conn: conn.clone() };
                (Self::Connected { conn }, action)
            }
            (Self::Waiting { failed, .. }, Event::WaitElapsed) => {
                let attempt = failed.saturating_add(1);
                (Self::Connecting { attempt }, Action::Dial { attempt })
            }

            // The task learns of the close after its last step.
            (Self::Closing { close, .. }, Event::Established(conn)) => {
                closing(Some(conn), close.clone())
            }
            (Self::Closing { close, .. }, Event::Retry { .. } | Event::GiveUp(_)) => {
                closing(None, close.clone())
            }
            (Self::Closing { .. }, Event::WaitElapsed) => return Action::Close,
            (Self::Closing { .. }, Event::Closed(result)) => ended(ReconnectError::Closed, result),
            // The first `CloseRequested` counts.
            (Self::Closing { .. }, Event::CloseRequested(_)) => return Action::Nothing,
            (_, Event::CloseRequested(close)) => closing(self.conn().cloned(), close),

            // The task does not produce these pairs.
            (Self::Waiting { .. }, _)
            | (Self::Connected { .. }, Event::Established(_))
            | (_, Event::WaitElapsed | Event::Closed(_)) => return Action::Nothing,
            (_, Event::Retry { failure, failed, wait }) => {
                (Self::Waiting { failed, failure, wait }, Action::Wait(wait))
            }
            (_, Event::GiveUp(failure)) => ended(ReconnectError::GaveUp(failure), Ok(())),
        };
        *self = next;
        action
    }

    /// The connection, while it is used.
    pub(super) const fn conn(&self) -> Option<&C> {
        match self {
            Self::Connected { conn } => Some(conn),
            Self::Closing { conn, .. } => conn.as_ref(),
            _ => None,
        }
    }

    /// The connection to close, and how, in the state `Closing`.
    pub(super) fn closing(&self) -> Option<(Option<C>, CloseRequest)> {
        match self {
            Self::Closing { conn, close } => Some((conn.clone(), close.clone())),
            _ => None,
        }
    }

    /// Why no more messages are accepted.
    pub(super) fn write_error(&self) -> Option<ReconnectError> {
        if matches!(self, Self::Closing { .. }) { Some(ReconnectError::Closed) } else { self.end() }
    }

    /// Why there are no more connections.
    pub(super) fn end(&self) -> Option<ReconnectError> {
        match self {
            Self::Ended { error, .. } => Some(error.clone()),
            _ => None,
        }
    }

    /// The result of `close`, in the state `Ended`.
    pub(super) fn close_result(&self) -> Option<Result<(), Error>> {
        match self {
            Self::Ended { close_result, .. } => Some(close_result.clone()),
            _ => None,
        }
    }

    /// The state as the application sees it.
    pub(super) fn state(&self) -> ReconnectState {
        match self {
            Self::Connecting { attempt } => ReconnectState::Connecting { attempt: *attempt },
            Self::Connected { .. } => ReconnectState::Connected,
            Self::Waiting { failure, wait, .. } => {
                ReconnectState::Waiting { failure: failure.clone(), wait: *wait }
            }
            Self::Closing { .. } => ReconnectState::Closing,
            Self::Ended { error, .. } => ReconnectState::Ended(error.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    type Life = Lifecycle<&'static str>;
    type LifeEvent = LifecycleEvent<&'static str>;

    const WAIT: Duration = Duration::from_secs(3);

    fn failure() -> ConnectionFailure {
        ConnectionFailure::Hook(Arc::from(Box::from("hook")))
    }

    fn request(code: StatusCode) -> CloseRequest {
        Some((code, String::new()))
    }

    /// A state in a few words.
    fn describe(life: &Life) -> String {
        let request = |close: &CloseRequest| match close {
            Some((code, _)) => code.as_u16().to_string(),
            None => "handles dropped".to_owned(),
        };
        match life {
            Life::Connecting { attempt } => format!("connecting, attempt {attempt}"),
            Life::Connected { conn } => format!("connected to {conn}"),
            Life::Waiting { failed, wait, .. } => format!("waiting {wait:?}, {failed} failed"),
            Life::Closing { conn, close } => {
                format!("closing {}, {}", conn.unwrap_or("nothing"), request(close))
            }
            Life::Ended { error, close_result } => {
                format!("ended: {error}{}", if close_result.is_ok() { "" } else { ", badly" })
            }
        }
    }

    /// Every (state, event) → (state, action).
    #[test]
    fn every_event_in_every_state_has_its_transition() {
        let connecting = Life::Connecting { attempt: 2 };
        let connected = Life::Connected { conn: "a" };
        let waiting = Life::Waiting { failed: 2, failure: failure(), wait: WAIT };
        let closing = |conn| Life::Closing { conn, close: request(StatusCode::NORMAL_CLOSURE) };
        let ended = Life::Ended { error: ReconnectError::Closed, close_result: Ok(()) };

        let established = || LifeEvent::Established("b");
        let retry = || LifeEvent::Retry { failure: failure(), failed: 2, wait: WAIT };
        let give_up = || LifeEvent::GiveUp(failure());
        let elapsed = || LifeEvent::WaitElapsed;
        let close = || LifeEvent::CloseRequested(request(StatusCode::GOING_AWAY));
        let dropped = || LifeEvent::CloseRequested(None);
        let closed = || LifeEvent::Closed(Err(Error::CloseSent));
        let task_ended = || LifeEvent::TaskEnded;

        let gave_up = "ended: no more attempts to connect: a hook of the application failed: hook";
        let stopped = "ended: the task that connects has stopped";
        let by_close = "ended: this side has closed the connection, badly";
        let (serve, wait) = (Action::Serve { attempt: 2, conn: "b" }, Action::Wait(WAIT));
        let check = |from: &Life, rows: [(LifeEvent, &str, Action<&str>); 8]| {
            for (event, state, action) in rows {
                let (mut life, text) = (from.clone(), format!("{from:?}, {event:?}"));
                assert_eq!(life.on(event), action, "{text}");
                // An empty text stands for the same state.
                let state = if state.is_empty() { describe(from) } else { state.to_owned() };
                assert_eq!(describe(&life), state, "{text}");
            }
        };
        check(
            &connecting,
            [
                (established(), "connected to b", serve),
                (retry(), "waiting 3s, 2 failed", wait.clone()),
                (give_up(), gave_up, Action::Stop),
                (elapsed(), "", Action::Nothing),
                (close(), "closing nothing, 1001", Action::Close),
                (dropped(), "closing nothing, handles dropped", Action::Close),
                (closed(), "", Action::Nothing),
                (task_ended(), stopped, Action::Stop),
            ],
        );
        check(
            &connected,
            [
                (established(), "", Action::Nothing),
                (retry(), "waiting 3s, 2 failed", wait),
                (give_up(), gave_up, Action::Stop),
                (elapsed(), "", Action::Nothing),
                (close(), "closing a, 1001", Action::Close),
                (dropped(), "closing a, handles dropped", Action::Close),
                (closed(), "", Action::Nothing),
                (task_ended(), stopped, Action::Stop),
            ],
        );
        check(
            &waiting,
            [
                (established(), "", Action::Nothing),
                (retry(), "", Action::Nothing),
                (give_up(), "", Action::Nothing),
                (elapsed(), "connecting, attempt 3", Action::Dial { attempt: 3 }),
                (close(), "closing nothing, 1001", Action::Close),
                (dropped(), "closing nothing, handles dropped", Action::Close),
                (closed(), "", Action::Nothing),
                (task_ended(), stopped, Action::Stop),
            ],
        );
        for conn in [None, Some("a")] {
            check(
                &closing(conn),
                [
                    (established(), "closing b, 1000", Action::Close),
                    (retry(), "closing nothing, 1000", Action::Close),
                    (give_up(), "closing nothing, 1000", Action::Close),
                    (elapsed(), "", Action::Close),
                    (close(), "", Action::Nothing),
                    (dropped(), "", Action::Nothing),
                    (closed(), by_close, Action::Stop),
                    (task_ended(), stopped, Action::Stop),
                ],
            );
        }
        let same = |event| (event, "", Action::Nothing);
        check(
            &ended,
            [
                established(),
                retry(),
                give_up(),
                elapsed(),
                close(),
                dropped(),
                closed(),
                task_ended(),
            ]
            .map(same),
        );
    }
}
