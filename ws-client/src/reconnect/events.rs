//! How does an application observe the state of a `ReconnectingConn`?

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::failure::{ConnectionFailure, ReconnectError};

/// The state of a [`ReconnectingConn`](super::ReconnectingConn).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReconnectState {
    /// An attempt to connect is in progress.
    #[non_exhaustive]
    Connecting {
        /// The number of the attempt, from 1. It restarts after a connection that lasted at least
        /// the maximum wait before it.
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
/// [`ReconnectState::Ended`]: a [`Stream`](futures::Stream).
///
/// A slow reader misses the oldest states if there are more than 64.
#[must_use = "states are delivered by `next`"]
pub struct ReconnectEvents(BoxStream<'static, ReconnectState>);

impl ReconnectEvents {
    /// The next state; `None` after [`ReconnectState::Ended`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no state.
    pub async fn next(&mut self) -> Option<ReconnectState> {
        self.0.next().await
    }

    pub(super) fn new(current: ReconnectState, receiver: Receiver<ReconnectState>) -> Self {
        let states = stream::unfold(Some((Some(current), receiver)), |rest| async move {
            let (current, mut receiver) = rest?;
            let state = match current {
                Some(state) => state,
                None => receive(&mut receiver).await?,
            };
            let is_last = matches!(state, ReconnectState::Ended(_));
            Some((state, (!is_last).then_some((None, receiver))))
        });
        Self(states.boxed())
    }
}

async fn receive(receiver: &mut Receiver<ReconnectState>) -> Option<ReconnectState> {
    loop {
        match receiver.recv().await {
            Ok(state) => return Some(state),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

impl Stream for ReconnectEvents {
    type Item = ReconnectState;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ReconnectState>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for ReconnectEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReconnectEvents(..)")
    }
}
