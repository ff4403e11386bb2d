//! How does a socket connect to its hub, and how does it disconnect?
//!
//! A [`Connecting`] socket is admitted and becomes a [`Connected`] one, which becomes a
//! [`Disconnecting`] one. Whatever happens to the task of the socket, [`Cleanup`] removes the
//! socket from the hub when it is dropped. The states and their transitions are in
//! [`socket_state`](crate::delivery::socket_state).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;

use crate::cluster::HubEvent;
use crate::delivery::send_queue::CloseCommand;
use crate::delivery::stats::add;
use crate::delivery::wire_format::WireFormat;
use crate::events::dispatch::dispatch;
use crate::events::payload::{Payload, QueuedEvent};
use crate::hub::HubShared;
use crate::hub::socket::SocketShared;
use crate::link::Link;
use crate::socketio::{PacketType, control_packet};
use crate::{ConnectRejection, DisconnectReason, Event, Hub, SetIdError, Socket};

/// A socket that is not admitted yet, or that is rejected and has yet to be closed.
pub(crate) struct Connecting {
    pub(crate) socket: Socket,
    /// Until it is admitted.
    cleanup: Option<Cleanup>,
}

/// A socket that is in the hub.
pub(crate) struct Connected {
    pub(crate) socket: Socket,
    /// Until it disconnects.
    cleanup: Option<Cleanup>,
}

/// Removes a socket from the hub when it is dropped, without calling handlers.
struct Cleanup(Socket);

impl Connecting {
    pub(crate) fn new(hub: Hub, link: &Link, format: WireFormat) -> Self {
        hub.0.active.fetch_add(1, SeqCst);
        let socket = Socket(SocketShared::new(hub.0, link.clone(), format));
        Self { cleanup: Some(Cleanup(socket.clone())), socket }
    }

    /// Admits it to the hub: its id finds it, and broadcasts reach it.
    pub(crate) fn admit(&mut self, link: &Link) -> Result<Connected, ConnectRejection> {
        let shared = &self.socket.0;
        let hub = &shared.hub;
        if hub.draining.load(SeqCst) {
            return Err(ConnectRejection::draining());
        }
        if hub.ids.register(shared, &shared.id).is_err() {
            return Err(SetIdError::Taken.into());
        }
        if let Some(link) = link.namespace() {
            // Before anybody can send to it.
            let sid = format!(r#"{{"sid":{}}}"#, quoted(&shared.id.get()));
            let queue = Arc::downgrade(&shared.queue);
            let close = move |code, reason: &str| {
                if let Some(queue) = queue.upgrade() {
                    queue.close(CloseCommand::new(code, reason));
                }
            };
            let format = link.format();
            let answer = control_packet(format, PacketType::Connect, link.name(), Some(&sid));
            link.accept(answer, close);
        }
        shared.queue.admit();
        shared.join_everyone();
        add(&hub.delivery.counters.connected, 1);
        if hub.draining.load(SeqCst) {
            // A concurrent drain may have closed all sockets before this one joined.
            let ConnectRejection { code, reason, .. } = ConnectRejection::draining();
            shared.queue.close(CloseCommand::new(code, reason));
        }
        Ok(Connected { socket: self.socket.clone(), cleanup: self.cleanup.take() })
    }
}

impl Connected {
    /// Calls the handlers of the end, and leaves the hub.
    pub(crate) fn disconnect(mut self, reason: DisconnectReason) -> Disconnecting {
        Disconnecting::new(self.cleanup.take(), reason)
    }
}

impl Drop for Connected {
    /// The task was dropped.
    fn drop(&mut self) {
        if self.cleanup.is_some() {
            self.socket.0.close_queue();
            self.socket.0.drop_link();
            drop(Disconnecting::new(self.cleanup.take(), DisconnectReason::Dropped));
        }
    }
}

/// The handlers of the end of a socket. Boxed: a connected socket holds no memory for it.
///
/// If the task is dropped before it completes, another task continues it, provided that there
/// is a runtime.
pub(crate) struct Disconnecting(Option<BoxFuture<'static, ()>>);

impl Disconnecting {
    fn new(cleanup: Option<Cleanup>, reason: DisconnectReason) -> Self {
        Self(cleanup.map(|cleanup| Box::pin(cleanup.disconnect(reason)) as _))
    }
}

impl Future for Disconnecting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = &mut self.0 {
            ready!(rest.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Disconnecting {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn(rest));
        }
    }
}

impl Cleanup {
    async fn disconnect(self, reason: DisconnectReason) {
        let Self(socket) = &self;
        socket.0.close_queue();
        // From here on, only room events are queued.
        self.handle_queued_events().await;
        if matches!(reason, DisconnectReason::SlowConsumer { .. }) {
            let (hub, id) = (&socket.0.hub, socket.id());
            let namespace = Arc::from(hub.namespace());
            hub.notices.report(HubEvent::SlowConsumer { id, namespace });
        }
        if matches!(reason, DisconnectReason::Closed(_) | DisconnectReason::SlowConsumer { .. }) {
            dispatch(socket, Event::Close, Payload::Disconnect(reason.clone())).await;
        }
        let error = reason.event_error();
        dispatch(socket, Event::Disconnect, Payload::Disconnect(reason)).await;
        if let Some(error) = error {
            dispatch(socket, Event::Error, Payload::Error(error)).await;
        }
        let rooms = socket.0.leave_all();
        // Events of rooms that handlers have joined or left. From here on, nothing is queued.
        self.handle_queued_events().await;
        for room in rooms {
            dispatch(socket, Event::RoomLeave, Payload::Room(room)).await;
            consume_budget().await;
        }
    }

    /// Handles the events that are queued now, and not those that the handlers cause.
    async fn handle_queued_events(&self) {
        for QueuedEvent { event, payload } in self.0.0.queue.take_events() {
            dispatch(&self.0, event, payload).await;
            consume_budget().await;
        }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let _active = ActiveGuard(&shared.hub);
        shared.close_queue();
        shared.leave_all();
        shared.hub.ids.unregister(&shared.id);
        shared.release();
    }
}

/// Counts a connection as ended when it is dropped, also if a value of the application panics.
struct ActiveGuard<'a>(&'a HubShared);

impl Drop for ActiveGuard<'_> {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

fn quoted(text: &str) -> String {
    // It cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

impl SocketShared {
    /// Accepts no messages and only room events, and discards the queued messages.
    fn close_queue(self: &Arc<Self>) {
        self.hub.delivery.counters.discard(self.queue.disconnect());
        self.close_acks();
    }
}
