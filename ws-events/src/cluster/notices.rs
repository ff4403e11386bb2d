//! What does an application learn of its hub while it runs?

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream};
use tokio::sync::broadcast::{self, error::RecvError};
use ws_core::Escaped;

use super::node::NodeId;
use crate::broker::Subject;
use crate::registry::id::Id;

/// The events that wait for one reader.
const WAITING: usize = 1024;

/// Something that an application may want to know of its hub: see [`Hub::events`](crate::Hub::events).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubEvent {
    /// A node has joined the cluster, or is heard again.
    NodeUp {
        /// Its id.
        node: NodeId,
    },
    /// A node has left, or is not heard any more. What it has sent last may be lost.
    NodeDown {
        /// Its id.
        node: NodeId,
    },
    /// The broker is connected, and all subscriptions are confirmed.
    BrokerUp,
    /// The connection to the broker is lost.
    BrokerDown {
        /// What has happened. The text may come from the network.
        cause: Arc<str>,
    },
    /// Envelopes of another node did not arrive.
    Gap {
        /// Who has sent them.
        origin: NodeId,
        /// Where they were published.
        subject: Subject,
        /// Their number.
        lost: u64,
    },
    /// Envelopes that the broker or the buffer of the [`OutagePolicy`](super::OutagePolicy) had taken
    /// were not sent. The other nodes report them as a [`Gap`](Self::Gap), or only this node as
    /// [down](Self::NodeDown), if it ends meanwhile.
    Unsent {
        /// Their number.
        envelopes: u64,
    },
    /// Messages of a room with a [history](crate::HubBuilder::history) may not have reached its
    /// members in this process: the store was lost, or has trimmed them. Members whose sessions can be
    /// recovered were closed with 1012, and learn it when they come back.
    HistoryGap {
        /// The name of the room.
        room: Arc<str>,
        /// The namespace of its hub.
        namespace: Arc<str>,
    },
    /// Messages that the store of the histories had queued may not be stored: its connection was
    /// lost. Nobody gets those that are not.
    NotStored {
        /// Their largest number.
        messages: u64,
    },
    /// A socket was closed because it did not keep up.
    SlowConsumer {
        /// Its id.
        id: Id,
        /// The namespace of its hub.
        namespace: Arc<str>,
    },
    /// This reader did not keep up, and has missed events.
    Missed {
        /// Their number.
        events: u64,
    },
}

/// Where events are reported. Without a reader, it holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Notices(OnceLock<broadcast::Sender<HubEvent>>);

impl Notices {
    pub(crate) fn report(&self, event: HubEvent) {
        if let Some(sender) = self.0.get() {
            // It fails if there is no reader any more.
            let _ = sender.send(event);
        }
    }

    /// The connection to a broker is lost.
    pub(crate) fn broker_down(&self, broker: &str, cause: String) {
        tracing::warn!(broker, cause = %Escaped::new(&cause), "the broker of a hub is down");
        self.report(HubEvent::BrokerDown { cause: cause.into() });
    }

    pub(crate) fn subscribe(&self) -> HubEvents {
        let sender = self.0.get_or_init(|| broadcast::Sender::new(WAITING));
        HubEvents { next: Some(next(sender.subscribe())) }
    }
}

/// The events of a hub from now on, in order: a [`Stream`]. Made by
/// [`Hub::events`](crate::Hub::events). It ends with the hub.
///
/// Up to 1,024 events wait for each reader. One that does not keep up misses the oldest, and gets
/// [`HubEvent::Missed`].
pub struct HubEvents {
    /// `None` after the end.
    next: Option<BoxFuture<'static, NextEvent>>,
}

/// An event, and where the next one comes from.
type NextEvent = (Result<HubEvent, RecvError>, broadcast::Receiver<HubEvent>);

fn next(mut receiver: broadcast::Receiver<HubEvent>) -> BoxFuture<'static, NextEvent> {
    async move { (receiver.recv().await, receiver) }.boxed()
}

impl HubEvents {
    /// The next event; `None` after the end of the hub.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no event is lost.
    pub async fn next(&mut self) -> Option<HubEvent> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<HubEvent>> {
        let Some(receiving) = &mut self.next else { return Poll::Ready(None) };
        let (event, receiver) = ready!(receiving.poll_unpin(cx));
        let event = match event {
            Ok(event) => event,
            Err(RecvError::Lagged(events)) => HubEvent::Missed { events },
            Err(RecvError::Closed) => {
                self.next = None;
                return Poll::Ready(None);
            }
        };
        self.next = Some(next(receiver));
        Poll::Ready(Some(event))
    }
}

impl Stream for HubEvents {
    type Item = HubEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HubEvent>> {
        self.get_mut().poll_event(cx)
    }
}

impl fmt::Debug for HubEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubEvents").field("has_ended", &self.next.is_none()).finish()
    }
}
