//! How does an application observe the state of a `ReconnectingConn`?

use std::fmt;
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::task::{self, Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::BoxFuture;
use super::failure::{ConnectionFailure, ReconnectError};

/// The state of a [`ReconnectingConn`](super::ReconnectingConn).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReconnectState {
    /// An attempt to connect is in progress.
    #[non_exhaustive]
    Connecting {
        /// The number of the attempt, from 1. It restarts at 1 after a connection that lasted at
        /// least as long as the maximum of the wait before it.
        attempt: u32,
    },
    /// Connected, and [`on_connect`](crate::Reconnect::on_connect) has returned.
    Connected,
    /// Not connected. The next attempt follows.
    #[non_exhaustive]
    Waiting {
        /// Why the last attempt or connection failed.
        failure: ConnectionFailure,
        /// The time from the start of this state to the next attempt.
        wait: Duration,
    },
    /// [`close`](super::ReconnectingConn::close) was called, or the last handle was dropped.
    /// Reported by [`state`](super::ReconnectingConn::state), not by
    /// [`events`](super::ReconnectingConn::events).
    Closing,
    /// Not connected. No attempt follows.
    Ended(ReconnectError),
}

/// The states of a [`ReconnectingConn`](super::ReconnectingConn), from the current one to
/// [`ReconnectState::Ended`]: a [`Stream`].
///
/// A slow reader misses the oldest states if there are more than 64.
#[must_use = "states are delivered by `next`"]
pub struct ReconnectEvents(Option<NextState>);

/// Waits for a state, and returns it with the receiver of those after it.
type NextState = BoxFuture<Option<(ReconnectState, Receiver<ReconnectState>)>>;

impl ReconnectEvents {
    /// The next state; `None` after [`ReconnectState::Ended`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no state.
    pub async fn next(&mut self) -> Option<ReconnectState> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    pub(super) fn new(current: ReconnectState, receiver: Receiver<ReconnectState>) -> Self {
        Self(Some(Box::pin(ready(Some((current, receiver))))))
    }
}

async fn receive(
    mut receiver: Receiver<ReconnectState>,
) -> Option<(ReconnectState, Receiver<ReconnectState>)> {
    loop {
        match receiver.recv().await {
            Ok(state) => return Some((state, receiver)),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

impl Stream for ReconnectEvents {
    type Item = ReconnectState;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ReconnectState>> {
        let Some(next) = &mut self.0 else { return Poll::Ready(None) };
        let received = task::ready!(next.as_mut().poll(cx));
        self.0 = None;
        let Some((state, receiver)) = received else { return Poll::Ready(None) };
        if !matches!(state, ReconnectState::Ended(_)) {
            self.0 = Some(Box::pin(receive(receiver)));
        }
        Poll::Ready(Some(state))
    }
}

impl fmt::Debug for ReconnectEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReconnectEvents(..)")
    }
}
