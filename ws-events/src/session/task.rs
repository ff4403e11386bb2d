//! What does the task of a socket do, from the connection to its end?
//!
//! One task per socket runs its admission, the event loop, and the writer
//! ([`writer`](crate::delivery::writer)). While a handler runs, the event loop waits for the
//! end of the connection, which reads ahead within its bound, answers pings and checks deadlines.
//!
//! Longer than 400 lines because the task reads from top to bottom.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::OptionFuture;
use tokio::task::yield_now;
use ws_core::{CloseError, CloseInfo, CloseInitiator, Conn, Error, StatusCode};

use crate::delivery::recipient::Recipient as _;
use crate::delivery::send_queue::CloseCommand;
use crate::delivery::wire_format::WireFormat;
use crate::delivery::writer::{run_writer, write_rest};
use crate::engine::{EngineEnd, EngineEndKind};
use crate::events::dispatch::{dispatch, log_id, log_unhandled, send_error};
use crate::events::payload::{Payload, QueuedEvent};
use crate::events::protocol::{ErrorCode, IncomingEvent, Protocol, Received};
use crate::link::{Link, LinkEnd};
use crate::namespace_link::{NamespaceEnd, means_later};
use crate::recovery::fate::LastEnd;
use crate::session::admission::admit;
use crate::session::lifecycle::{Connected, Disconnecting};
use crate::session::ready_flag::ReadyFlag;
use crate::{DisconnectReason, Event, EventError, Hub, Socket};

/// After this many messages and events other tasks run. A message counts once more for each of
/// these bytes, so a turn has at most 128 KiB and one message.
const MAX_TURN: u16 = 64;
const TURN_BYTES: usize = 2 * 1024;

/// While a handler awaits an acknowledgement, at most so many messages and bytes wait for it to
/// return.
const INBOX_MESSAGES: usize = 64;
const INBOX_BYTES: usize = 64 * 1024;

impl Hub {
    /// A handler of connections, which makes each a socket of this hub: for `on_upgrade` of any
    /// adapter, and for `websocket(options, hub.handler())`.
    ///
    /// ```
    /// # use ws_events::Hub;
    /// # use ws_core::Conn;
    /// # let hub = Hub::new();
    /// # fn on_upgrade<F: FnOnce(Conn) -> Fut, Fut: Future<Output = ()> + Send + 'static>(_: F) {}
    /// on_upgrade(hub.handler());
    /// ```
    pub fn handler(
        &self,
    ) -> impl FnOnce(Conn) -> Pin<Box<dyn Future<Output = ()> + Send>> + Clone + Send + Sync + 'static
    {
        let hub = self.clone();
        move |conn| {
            let format = hub.0.format;
            Box::pin(serve_link(hub, Link::Conn(conn), format))
        }
    }

    /// Makes a connection a socket of this hub, and serves it to its end: reads from it, calls
    /// the handlers one after the other, and writes its send queue, all in the calling task.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the connection is dropped, and the socket
    /// leaves the hub. The handlers of `disconnect` then run in another task.
    pub async fn serve(&self, conn: Conn) {
        serve_link(self.clone(), Link::Conn(conn), self.0.format).await;
    }

    /// As [`serve`](Self::serve), for a connection with this protocol: `serve` uses the one that the
    /// hub is built with. Sockets of several protocols are in the same rooms and have the same
    /// handlers. A hub that serves events with one of them should be built with
    /// [`envelope`](crate::HubBuilder::envelope) or [`serves`](crate::HubBuilder::serves).
    ///
    /// ```
    /// use ws_events::{Hub, Protocol};
    /// use ws_server_axum::WebSocketUpgrade;
    ///
    /// let hub = Hub::builder().envelope().build();
    /// // For programs that take no envelope.
    /// let plain = async move |ws: WebSocketUpgrade| {
    ///     let hub = hub.clone();
    ///     ws.on_upgrade(async move |conn| hub.serve_as(conn, Protocol::Plain).await)
    /// };
    /// # let _: axum::Router = axum::Router::new().route("/plain", axum::routing::any(plain));
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As `serve`.
    pub async fn serve_as(&self, conn: Conn, protocol: Protocol) {
        serve_link(self.clone(), Link::Conn(conn), protocol.format()).await;
    }
}

/// Makes a connection a socket, and serves it to its end.
pub(crate) async fn serve_link(hub: Hub, link: Link, format: WireFormat) {
    // Boxed: a connected socket holds no memory for its admission.
    let Some(connected) = Box::pin(admit(hub, &link, format)).await else { return };
    let command = run(&connected.socket, &link).await;
    if let Some(backlog) = command.as_ref().and_then(|command| command.slow_consumer) {
        tracing::info!(
            id = %log_id(&connected.socket),
            conn = link.conn().map(Conn::id),
            queued_messages = backlog.messages,
            queued_bytes = backlog.bytes,
            "a slow consumer was closed"
        );
    }
    if let Link::Conn(conn) = &link
        && conn.close_info().is_none()
    {
        // Boxed: it is rare.
        Box::pin(answer_held_close(&connected.socket, &link, conn)).await;
    }
    let ending = link.closed().await;
    drop(link);
    disconnect(connected, command, ending).await;
}

/// Runs the event loop and the writer until the connection has ended and its last handler has
/// returned. Returns the command that closed the connection, if there was one.
async fn run(socket: &Socket, link: &Link) -> Option<Box<CloseCommand>> {
    let mut event_loop = pin!(EventLoop::new(socket, link).run());
    let mut writer = pin!(run_writer(&*socket.0, link));
    let (mut handled, mut written) = (false, None);
    let ready = ReadyFlag::new();
    let waker = Waker::from(Arc::clone(&ready));
    poll_fn(|cx| {
        ready.register(cx);
        // The event loop first, so that messages of handlers are written in the same poll.
        if !handled && ready.take() {
            handled = event_loop.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        }
        if written.is_none()
            && let Poll::Ready(command) = writer.as_mut().poll(cx)
        {
            written = Some(command);
        }
        // The event loop ends with the connection, so a close command is carried out by then.
        if handled { Poll::Ready(written.take().flatten()) } else { Poll::Pending }
    })
    .await
}

/// A hook of the application holds the answer to the peer's close frame. The peer gets what is
/// queued, and then its close frame. After `close_timeout`, the connection answers by itself, and
/// writing fails.
async fn answer_held_close(socket: &Socket, link: &Link, conn: &Conn) {
    if let Err(Error::Closed(close)) = conn.read().await
        && write_rest(&*socket.0, link).await.is_ok()
    {
        // The deadline may have been earlier.
        let _ = conn.close(close.code, &close.reason).await;
    }
}

/// A function of its own, so that the future of the socket has no place for the reason.
fn disconnect(
    connected: Connected,
    command: Option<Box<CloseCommand>>,
    ending: LinkEnd,
) -> Disconnecting {
    let by_client = ends_session(&ending);
    let reason = disconnect_reason(command, ending);
    let end = match by_client {
        true => LastEnd::ClientLeft,
        false if is_kicked(&reason) => LastEnd::Kicked,
        false => LastEnd::Lost,
    };
    connected.disconnect(reason, end)
}

/// Whether the peer has ended its session with the connection.
fn ends_session(ending: &LinkEnd) -> bool {
    match ending {
        LinkEnd::Conn(CloseInfo { received: Some(close), by: CloseInitiator::Peer, .. }) => {
            [StatusCode::NORMAL_CLOSURE, StatusCode::NO_STATUS_RECEIVED].contains(&close.code)
        }
        LinkEnd::Namespace(NamespaceEnd::Client) => true,
        LinkEnd::Conn(_) | LinkEnd::Namespace(_) => false,
    }
}

/// Whether the application has closed the socket for good. A session of Socket.IO that was ended at once
/// has sent no code.
fn is_kicked(reason: &DisconnectReason) -> bool {
    let was_sent = |code| code != StatusCode::ABNORMAL_CLOSURE;
    matches!(
        reason,
        DisconnectReason::Closed(close) if was_sent(close.code) && !means_later(close.code)
    )
}

fn disconnect_reason(command: Option<Box<CloseCommand>>, ending: LinkEnd) -> DisconnectReason {
    match ending {
        LinkEnd::Conn(ending) => reason_of_conn(command, ending),
        LinkEnd::Namespace(ending) => reason_of_namespace(command, ending),
    }
}

fn reason_of_namespace(
    command: Option<Box<CloseCommand>>,
    ending: NamespaceEnd,
) -> DisconnectReason {
    let closed = |code, reason: &str| CloseError::new(code, reason);
    match (command.map(|command| *command), ending) {
        (Some(CloseCommand { slow_consumer: Some(backlog), .. }), _) => {
            DisconnectReason::SlowConsumer { queued: backlog.bytes }
        }
        (_, NamespaceEnd::Client) => {
            let reason = "client namespace disconnect";
            DisconnectReason::Peer(closed(StatusCode::NORMAL_CLOSURE, reason))
        }
        (Some(CloseCommand { code, reason, .. }), NamespaceEnd::Server) => {
            DisconnectReason::Closed(closed(code, &reason))
        }
        (None, NamespaceEnd::Server) => {
            let reason = "server namespace disconnect";
            DisconnectReason::Closed(closed(StatusCode::NORMAL_CLOSURE, reason))
        }
        (command, NamespaceEnd::Session(EngineEnd { kind, error })) => match (kind, error, command)
        {
            (EngineEndKind::Closed, _, Some(CloseCommand { code, reason, .. })) => {
                DisconnectReason::Closed(closed(code, &reason))
            }
            (EngineEndKind::Closed, Error::Closed(close), None) => DisconnectReason::Closed(close),
            (EngineEndKind::TransportClose, Error::Closed(close), _)
                if close.code != StatusCode::ABNORMAL_CLOSURE =>
            {
                DisconnectReason::Peer(close)
            }
            (_, error, _) => DisconnectReason::Lost(error),
        },
    }
}

fn reason_of_conn(command: Option<Box<CloseCommand>>, ending: CloseInfo) -> DisconnectReason {
    use DisconnectReason::{Closed, Lost, Peer, SlowConsumer};
    match (ending, command.map(|command| *command)) {
        (CloseInfo { received: Some(received), by: CloseInitiator::Peer, .. }, _) => Peer(received),
        (_, Some(CloseCommand { slow_consumer: Some(backlog), .. })) => {
            SlowConsumer { queued: backlog.bytes }
        }
        (_, Some(CloseCommand { code, reason, .. })) => Closed(CloseError::new(code, reason)),
        // The application has closed the connection directly.
        (
            CloseInfo {
                sent: Some(sent), by: CloseInitiator::Local, error: Error::Closed(_), ..
            },
            None,
        ) => Closed(sent),
        (CloseInfo { error, .. }, None) => Lost(error),
    }
}

/// Reads messages and queued events, and calls their handlers one after the other.
struct EventLoop<'a> {
    socket: &'a Socket,
    link: &'a Link,
    /// Messages that arrived while a handler awaited an acknowledgement.
    inbox: Inbox,
    /// Whether queued events come before messages; alternates.
    events_first: bool,
    /// The number of queued events to handle before the next message.
    events_left: u32,
    /// What was handled in this turn: see [`MAX_TURN`].
    turn: u16,
}

/// An input of the event loop.
enum Input {
    Event(QueuedEvent),
    /// From the peer, with its size in bytes.
    Received(Received, usize),
}

impl<'a> EventLoop<'a> {
    fn new(socket: &'a Socket, link: &'a Link) -> Self {
        Self { socket, link, inbox: Inbox::default(), events_first: false, events_left: 0, turn: 0 }
    }

    async fn run(mut self) {
        OptionFuture::from(self.start(Event::Connect, Payload::None)).await;
        loop {
            // The input is gone before the handlers run: the future has no place for both.
            let handling = match self.next_input().await {
                Some(input) => self.start_input(input),
                None => return,
            };
            OptionFuture::from(handling).await;
            // A peer may send, and a handler may fire at its own socket, without end.
            if self.turn >= MAX_TURN {
                self.turn = 0;
                yield_now().await;
            }
        }
    }

    fn start_input(&mut self, input: Input) -> Option<Pin<Box<impl Future<Output = ()>>>> {
        self.turn += 1;
        let (event, payload) = match input {
            Input::Event(QueuedEvent { event, payload }) => (event, payload),
            Input::Received(received, size) => {
                let bytes = u16::try_from(size / TURN_BYTES).unwrap_or(MAX_TURN);
                self.turn += bytes.min(MAX_TURN);
                self.apply(received)?
            }
        };
        self.start(event, payload)
    }

    /// Carries out what a message means, and returns the event for the handlers.
    fn apply(&self, received: Received) -> Option<(Event, Payload)> {
        match received {
            Received::Message(message) => Some((Event::Message, Payload::Data(message))),
            Received::Event(IncomingEvent { name, data, ack }) => {
                Some((Event::received(name), Payload::Request(data, ack)))
            }
            Received::Ack { id, data } => {
                self.socket.0.receive_ack(id, data);
                None
            }
            Received::Malformed(text) => {
                send_error(self.socket, ErrorCode::Malformed, None, &text);
                Some((Event::Error, Payload::Error(EventError::Malformed(text))))
            }
        }
    }

    /// Starts the handlers of an event, if it has any. Boxed: an idle socket holds no memory for
    /// them.
    fn start(
        &mut self,
        event: Event,
        payload: Payload,
    ) -> Option<Pin<Box<impl Future<Output = ()>>>> {
        if !self.socket.0.has_handler(&event) {
            self.log_without_handler(&event, &payload);
            return None;
        }
        Some(Box::pin(handle(self.socket, self.link, event, payload, &mut self.inbox)))
    }

    /// An event without a handler is logged if a peer sent it, since that may be a mistake.
    fn log_without_handler(&self, event: &Event, payload: &Payload) {
        match (event, payload) {
            (_, Payload::Error(error)) => log_unhandled(self.socket, event, error),
            (Event::Custom(_) | Event::Message, _) => {
                if let (Event::Custom(name), Payload::Request(..)) = (event, payload) {
                    send_error(self.socket, ErrorCode::Unhandled, Some(name), "no handler");
                }
                tracing::debug!(id = %log_id(self.socket), %event, "an event without a handler");
            }
            _ => {}
        }
    }

    /// The next input; `None` when the connection has ended. Events that are queued by then are
    /// for [`Connected::disconnect`].
    async fn next_input(&mut self) -> Option<Input> {
        let Self { socket, link, inbox, events_first, events_left, .. } = self;
        let queue = &socket.0.queue;
        // Neither starves the other: one message, then all events that are queued by then.
        if *events_left == 0 {
            *events_first = !*events_first;
        }
        let events_first = *events_first || *events_left > 0;
        let mut poll_event = |cx: &mut Context<'_>| {
            queue.poll_event(cx).map(|(event, behind)| {
                *events_left = if *events_left == 0 { behind } else { *events_left - 1 };
                Some(Input::Event(event))
            })
        };
        let mut reading = pin!(link.read(socket.0.format));
        let mut poll_message = |cx: &mut Context<'_>| {
            let read = inbox.pop().map(|input| Poll::Ready(Some(input)));
            let read = read.unwrap_or_else(|| reading.as_mut().poll(cx));
            read.map(|read| read.map(|(received, size)| Input::Received(received, size)))
        };
        poll_fn(|cx| {
            if events_first && let Poll::Ready(event) = poll_event(cx) {
                return Poll::Ready(event);
            }
            match poll_message(cx) {
                Poll::Pending if !events_first => poll_event(cx),
                polled => polled,
            }
        })
        .await
    }
}

/// Messages that wait for a handler to return.
///
/// Boxed: an idle socket holds no memory for it.
#[derive(Default)]
struct Inbox(Option<Box<InboxQueue>>);

#[derive(Default)]
struct InboxQueue {
    received: VecDeque<(Received, usize)>,
    bytes: usize,
}

impl Inbox {
    fn has_room(&self) -> bool {
        let has_room =
            |queue: &InboxQueue| queue.received.len() < INBOX_MESSAGES && queue.bytes < INBOX_BYTES;
        self.0.as_deref().is_none_or(has_room)
    }

    fn push(&mut self, received: Received, size: usize) {
        let queue = self.0.get_or_insert_default();
        queue.bytes += size;
        queue.received.push_back((received, size));
    }

    fn pop(&mut self) -> Option<(Received, usize)> {
        let queue = self.0.as_mut()?;
        let popped = queue.received.pop_front();
        match &popped {
            Some((_, size)) => queue.bytes = queue.bytes.saturating_sub(*size),
            None => self.0 = None,
        }
        popped
    }
}

/// Runs the handlers of an event, and waits for the end of the connection meanwhile.
async fn handle(socket: &Socket, link: &Link, event: Event, payload: Payload, inbox: &mut Inbox) {
    let mut handling = pin!(dispatch(socket, event, payload));
    if poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx).is_ready())).await {
        return;
    }
    let mut closed = pin!(read_until_closed(socket, link, inbox));
    let (mut is_open, mut poll_handler) = (true, false);
    poll_fn(|cx| {
        // It was polled just now.
        if std::mem::replace(&mut poll_handler, true) && handling.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if is_open && closed.as_mut().poll(cx).is_ready() {
            is_open = false;
            socket.0.stop_sending();
            socket.0.close_acks();
        }
        Poll::Pending
    })
    .await;
}

/// Waits for the end of the connection. Reads messages only while acknowledgements are awaited.
async fn read_until_closed(socket: &Socket, link: &Link, inbox: &mut Inbox) {
    loop {
        if socket.0.expects_acks() && inbox.has_room() {
            match link.read(socket.0.format).await {
                Some((Received::Ack { id, data }, _)) => socket.0.receive_ack(id, data),
                Some((received, size)) => inbox.push(received, size),
                None => return,
            }
            continue;
        }
        // It reads ahead, too: messages that arrive before the end are not lost.
        let mut closed = pin!(link.closed());
        let has_ended = poll_fn(|cx| {
            if closed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            socket.0.queue.register_event_loop(cx);
            let reads = socket.0.expects_acks() && inbox.has_room();
            if reads { Poll::Ready(false) } else { Poll::Pending }
        });
        if has_ended.await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory of the task of each idle socket.
    #[tokio::test]
    async fn the_future_that_serves_a_socket_is_small() {
        let (conn, _peer) = ws_core::pair();
        let size = size_of_val(&serve_link(Hub::new(), Link::Conn(conn), WireFormat::Plain));
        assert!(size <= 704, "{size}");
    }
}
