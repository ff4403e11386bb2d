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
use crate::delivery::wire_format::WireFormat;
use crate::events::dispatch::dispatch;
use crate::events::payload::{Payload, QueuedEvent};
use crate::hub::HubShared;
use crate::hub::recovery_failure::RecoveryFailure;
use crate::hub::sessions::{HubRecovery, LeavingSession};
use crate::hub::socket::SocketShared;
use crate::link::Link;
use crate::namespace_link::{CloseSocket, NamespaceLink};
use crate::recovery::fate::LastEnd;
use crate::recovery::token::SessionToken;
use crate::session::recovery::{Replay, ResumeRequest, claim, hold, release, welcome};
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
struct Cleanup {
    socket: Socket,
    /// Its session, which waits for the client once the socket is removed.
    leaving: Option<LeavingSession>,
}

impl Connecting {
    pub(crate) fn new(hub: Hub, link: &Link, format: WireFormat) -> Self {
        hub.0.active.fetch_add(1, SeqCst);
        let socket = Socket(SocketShared::new(hub.0, link.clone(), format));
        Self { cleanup: Some(Cleanup { socket: socket.clone(), leaving: None }), socket }
    }

    /// Admits it to the hub: its id finds it, and broadcasts reach it. A client that asks for a
    /// session gets it back, if that is possible.
    pub(crate) async fn admit(
        &mut self,
        link: &Link,
        request: Option<&ResumeRequest>,
    ) -> Result<Connected, ConnectRejection> {
        let shared = &self.socket.0;
        let hub = &shared.hub;
        if hub.draining.load(SeqCst) {
            return Err(ConnectRejection::draining());
        }
        match request {
            None => self.enter(link)?,
            Some(request) => self.resume(link, request).await?,
        }
        if hub.draining.load(SeqCst) {
            // A concurrent drain may have closed all sockets before this one joined.
            let ConnectRejection { code, reason, .. } = ConnectRejection::draining();
            shared.close(CloseCommand::new(code, reason));
        }
        Ok(Connected { socket: self.socket.clone(), cleanup: self.cleanup.take() })
    }

    /// Enters the hub without a session.
    fn enter(&self, link: &Link) -> Result<(), ConnectRejection> {
        let shared = &self.socket.0;
        self.register()?;
        if let Some(link) = link.namespace() {
            // Before anybody can send to it.
            accept(link, shared, None);
        }
        shared.queue.admit();
        shared.join_everyone();
        Ok(())
    }

    fn register(&self) -> Result<(), ConnectRejection> {
        let shared = &self.socket.0;
        let registered = shared.hub.ids.register(shared, &shared.id);
        registered.map_err(|_| SetIdError::Taken.into())
    }

    /// Enters the hub with the session of the client, or with a new one.
    async fn resume(&self, link: &Link, request: &ResumeRequest) -> Result<(), ConnectRejection> {
        let socket = &self.socket;
        let shared = &socket.0;
        // Handles of middleware may send already, and others once the id finds the socket.
        hold(socket);
        let user = shared.hub.session_user.as_ref().and_then(|user| user(socket));
        let mut claimed = claim(socket, request, user.as_deref()).await;
        // Random, or from middleware.
        let own = shared.id.get();
        let rename = |id: &Arc<str>| shared.hub.ids.rename(shared, &shared.id, Arc::clone(id));
        if let Some(Ok(recovery)) = &claimed {
            let registered =
                rename(&recovery.claimed.session.id).is_ok() && self.register().is_ok();
            if !registered {
                // Another socket has the id of the session. It has not entered the hub yet, so it
                // only requests an id.
                let _ = rename(&own);
                claimed = Some(Err(RecoveryFailure::IdTaken));
            }
        }
        self.register()?;
        let mut outcome = match &claimed {
            None => Err(None),
            Some(Err(failure)) => Err(Some(*failure)),
            Some(Ok(_)) => Ok(Replay::default()),
        };
        let kept_token = if let Some(Ok(mut recovery)) = claimed {
            recovery.begin(socket);
            shared.queue.admit();
            shared.join_everyone();
            recovery.join_rooms(socket);
            match recovery.read(socket).await {
                Ok(replay) => {
                    recovery.claimed.recover(socket.attributes());
                    outcome = Ok(replay);
                    // The library of Socket.IO compares the tokens.
                    link.namespace().map(|_| recovery.claimed.session.token)
                }
                Err(failure) => {
                    recovery.give_up(socket, own);
                    outcome = Err(Some(failure));
                    None
                }
            }
        } else {
            shared.queue.admit();
            shared.join_everyone();
            None
        };
        let token = kept_token.unwrap_or_else(|| new_token(shared));
        shared.begin_session(token, user, outcome.is_ok());
        match link {
            Link::Namespace(link) => {
                accept(link, shared, Some(token));
            }
            Link::Conn(conn) => {
                let outcome = outcome.as_ref().map(|_| ()).map_err(|failure| *failure);
                // It fails if the connection has ended.
                let _ = conn.write_prepared(&welcome(token, outcome)).await;
            }
        }
        release(socket, outcome.unwrap_or_default());
        Ok(())
    }
}

fn new_token(shared: &SocketShared) -> SessionToken {
    shared.hub.recovery().map_or_else(|| SessionToken::random(None), HubRecovery::new_token)
}

/// Answers a client of Socket.IO.
fn accept(link: &NamespaceLink, shared: &Arc<SocketShared>, token: Option<SessionToken>) {
    let sid = quoted(&shared.id.get());
    let json = match token {
        None => format!(r#"{{"sid":{sid}}}"#),
        Some(token) => format!(r#"{{"sid":{sid},"pid":"{}"}}"#, token.reveal()),
    };
    let socket: Arc<dyn CloseSocket> = Arc::clone(shared) as _;
    let answer = control_packet(link.format(), PacketType::Connect, link.name(), Some(&json));
    link.accept(answer, Arc::downgrade(&socket));
}

impl Connected {
    /// Calls the handlers of the end, and leaves the hub. Its session waits for the client, unless it
    /// ends.
    pub(crate) fn disconnect(mut self, reason: DisconnectReason, end: LastEnd) -> Disconnecting {
        Disconnecting::new(self.cleanup.take(), reason, end)
    }
}

impl Drop for Connected {
    /// The task was dropped.
    fn drop(&mut self) {
        if self.cleanup.is_some() {
            self.socket.0.close_queue();
            self.socket.0.drop_link();
            drop(Disconnecting::new(self.cleanup.take(), DisconnectReason::Dropped, LastEnd::Lost));
        }
    }
}

/// The handlers of the end of a socket. Boxed: a connected socket holds no memory for it.
///
/// If the task is dropped before it completes, another task continues it, provided that there
/// is a runtime.
pub(crate) struct Disconnecting(Option<BoxFuture<'static, ()>>);

impl Disconnecting {
    fn new(cleanup: Option<Cleanup>, reason: DisconnectReason, end: LastEnd) -> Self {
        Self(cleanup.map(|cleanup| Box::pin(cleanup.disconnect(reason, end)) as _))
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
    async fn disconnect(mut self, reason: DisconnectReason, end: LastEnd) {
        self.socket.0.close_queue();
        self.leaving = self.socket.0.begin_leaving(end);
        let socket = &self.socket;
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
        for QueuedEvent { event, payload } in self.socket.0.queue.take_events() {
            dispatch(&self.socket, event, payload).await;
            consume_budget().await;
        }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let shared = &self.socket.0;
        let _active = ActiveGuard(&shared.hub);
        shared.close_queue();
        shared.leave_all();
        shared.hub.ids.unregister(&shared.id);
        match (self.leaving.take(), shared.hub.recovery()) {
            (Some(leaving), Some(recovery)) => recovery.wait(leaving),
            _ => shared.end_session(),
        }
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
        if let Some(recovery) = self.recovery() {
            // Its task was dropped before its session was recovered.
            recovery.discard_held(&self.hub.delivery.counters);
        }
        self.close_acks();
    }
}
