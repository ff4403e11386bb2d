//! Is there a connection just now, and if not, why?

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Loss;
use crate::CodecError;

/// Is there a connection?
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// Not yet: it is being dialled.
    #[non_exhaustive]
    Connecting {
        /// Which attempt it is, counted from 1 since the last connection that lasted.
        attempt: u32,
    },
    /// Yes, and [`on_connect`](crate::Reconnect::on_connect) is done with it.
    Connected,
    /// No, and the next attempt is to come.
    #[non_exhaustive]
    Waiting {
        /// Why there is none.
        loss: Loss,
        /// How long it waits, counted from when it began to.
        wait: Duration,
    },
    /// No, and there will be none.
    Ended(ReconnectError),
}

/// Why there will be no connection any more, or why a message was not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// This side has closed it.
    #[error("this side has closed the connection")]
    Closed,
    /// Another attempt was not worth it, or was one too many.
    #[error("the connection was given up")]
    GaveUp(#[source] Loss),
    /// The task that connects is gone: its runtime has ended, or a hook panicked.
    #[error("the task that connects is gone")]
    Stopped,
    /// The outbox is full, and the message was not taken.
    #[error("the outbox is full (`Outbox::capacity`)")]
    OutboxFull,
    /// A message that was read did not hold what it should, or a value could not become a
    /// message. The connection is as it was.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// The states of a connection, from the present one to the end: a
/// [`Stream`](futures::Stream).
///
/// Whoever is slow to take them misses the oldest, when there are more than 64.
#[must_use = "states are told when asked for"]
pub struct Events(BoxStream<'static, State>);

impl Events {
    /// The next state; `None` after [`State::Ended`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<State> {
        self.0.next().await
    }

    /// The present state, and those that are told from now on.
    pub(super) fn new(present: State, later: Receiver<State>) -> Self {
        let states = stream::unfold(Some((Some(present), later)), |left| async move {
            let (present, mut later) = left?;
            let state = match present {
                Some(state) => state,
                None => receive(&mut later).await?,
            };
            let left = (!matches!(state, State::Ended(_))).then_some((None, later));
            Some((state, left))
        });
        Self(states.boxed())
    }
}

async fn receive(later: &mut Receiver<State>) -> Option<State> {
    loop {
        match later.recv().await {
            Ok(state) => return Some(state),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

impl Stream for Events {
    type Item = State;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<State>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events(..)")
    }
}
