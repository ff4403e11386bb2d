//! What does the task of a socket do, from the connection to its end?
//!
//! One task per socket runs its admission, the event loop, and the writer
//! ([`writer`](crate::delivery::writer)). While a handler runs, the event loop waits for the
//! end of the connection, which reads ahead within its bound, answers pings and checks deadlines.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::OptionFuture;
use tokio::task::yield_now;
use ws_core::{CloseError, CloseInfo, CloseInitiator, Conn, Error, Message, PreparedMessage};

use crate::delivery::enqueue::enqueue;
use crate::delivery::recipient::Recipient as _;
use crate::delivery::send_queue::CloseCommand;
use crate::delivery::writer::run_writer;
use crate::events::dispatch::{dispatch, log_id, log_unhandled, send_error};
use crate::events::payload::{Payload, QueuedEvent};
use crate::events::protocol::{ErrorCode, IncomingEvent, Received, Session};
use crate::session::admission::admit;
use crate::session::ready_flag::ReadyFlag;
use crate::{DisconnectReason, Event, EventError, Hub, Socket};

/// After this many messages and events other tasks run. A message counts once more for each of
/// these bytes, so a turn has at most 128 KiB and one message.
const MAX_TURN: u16 = 64;
const TURN_BYTES: usize = 2 * 1024;

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
        move |conn| Box::pin(serve(hub, conn))
    }

    /// Makes a connection a socket of this hub, and serves it to its end: reads from it, calls
    /// the handlers one after the other, and writes its send queue, all in the calling task.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the connection is dropped, and the socket
    /// leaves the hub. The handlers of `disconnect` then run in another task.
    pub async fn serve(&self, conn: Conn) {
        serve(self.clone(), conn).await;
    }
}

/// Makes a connection a socket, and serves it to its end.
async fn serve(hub: Hub, conn: Conn) {
    // Boxed: a connected socket holds no memory for its admission.
    let Some(connected) = Box::pin(admit(hub, &conn)).await else { return };
    let command = run(&connected.socket, &conn).await;
    if let Some(backlog) = command.as_ref().and_then(|command| command.slow_consumer) {
        tracing::info!(
            id = %log_id(&connected.socket),
            conn = conn.id(),
            queued_messages = backlog.messages,
            queued_bytes = backlog.bytes,
            "a slow consumer was closed"
        );
    }
    let ending = conn.closed().await;
    drop(conn);
    connected.disconnect(disconnect_reason(command, ending)).await;
}

/// Runs the event loop and the writer until the connection has ended and its last handler has
/// returned. Returns the command that closed the connection, if there was one.
async fn run(socket: &Socket, conn: &Conn) -> Option<Box<CloseCommand>> {
    let mut event_loop = pin!(EventLoop::new(socket, conn).run());
    let mut writer = pin!(run_writer(&*socket.0, conn));
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

fn disconnect_reason(command: Option<Box<CloseCommand>>, ending: CloseInfo) -> DisconnectReason {
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
    conn: &'a Conn,
    session: Box<dyn Session>,
    /// The rest of what a message means, in reverse order.
    decoded: Vec<Received>,
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
    Message(Message),
}

impl<'a> EventLoop<'a> {
    fn new(socket: &'a Socket, conn: &'a Conn) -> Self {
        Self {
            socket,
            conn,
            session: socket.0.hub.protocol.session(),
            decoded: Vec::new(),
            events_first: false,
            events_left: 0,
            turn: 0,
        }
    }

    async fn run(mut self) {
        let first = self.session.begin();
        // Boxed, as below: an idle socket holds no memory for it.
        Box::pin(async {
            self.handle_received(first).await;
            self.handle_decoded().await;
        })
        .await;
        OptionFuture::from(self.start(Event::Connect, Payload::None)).await;
        while let Some(input) = self.next_input().await {
            OptionFuture::from(self.start_input(input)).await;
            if !self.decoded.is_empty() {
                Box::pin(self.handle_decoded()).await;
            }
            // A peer may send, and a handler may fire at its own socket, without end.
            if self.turn >= MAX_TURN {
                self.turn = 0;
                yield_now().await;
            }
        }
    }

    async fn handle_decoded(&mut self) {
        while let Some(received) = self.decoded.pop() {
            self.handle_received(received).await;
        }
        // An idle socket holds no memory for it.
        self.decoded = Vec::new();
    }

    async fn handle_received(&mut self, received: Received) {
        let event = self.apply(received);
        OptionFuture::from(event.and_then(|event| self.start(event.0, event.1))).await;
    }

    fn start_input(&mut self, input: Input) -> Option<Pin<Box<impl Future<Output = ()>>>> {
        self.turn += 1;
        let (event, payload) = match input {
            Input::Event(QueuedEvent { event, payload }) => (event, payload),
            Input::Message(message) => {
                let bytes = u16::try_from(message.len() / TURN_BYTES).unwrap_or(MAX_TURN);
                self.turn += bytes.min(MAX_TURN);
                let received = self.session.receive(message);
                self.apply(received)?
            }
        };
        self.start(event, payload)
    }

    /// Carries out what a message means, and returns the event for the handlers.
    fn apply(&mut self, received: Received) -> Option<(Event, Payload)> {
        match received {
            Received::Message(message) => return Some((Event::Message, Payload::Data(message))),
            Received::Event(IncomingEvent { event, data, .. }) => {
                return Some((Event::Custom(event), Payload::Data(data)));
            }
            Received::Malformed(text) => {
                send_error(self.socket, ErrorCode::Malformed, None, &text);
                return Some((Event::Error, Payload::Error(EventError::Malformed(text))));
            }
            Received::Nothing => {}
            // If the send queue is full, the message is counted as refused.
            Received::Reply(message) => _ = enqueue(&self.socket.0, &PreparedMessage::new(message)),
            Received::Close(code, reason) => {
                self.socket.0.queue.close(CloseCommand::new(code, reason));
            }
            Received::Many(all) => self.decoded.extend(all.into_iter().rev()),
        }
        None
    }

    /// Starts the handlers of an event, if it has any. Boxed: an idle socket holds no memory for
    /// them.
    fn start(&self, event: Event, payload: Payload) -> Option<Pin<Box<impl Future<Output = ()>>>> {
        if !self.socket.0.has_handler(&event) {
            self.log_without_handler(&event, &payload);
            return None;
        }
        Some(Box::pin(handle(self.socket, self.conn, event, payload)))
    }

    /// An event without a handler is logged if a peer sent it, since that may be a mistake.
    fn log_without_handler(&self, event: &Event, payload: &Payload) {
        match (event, payload) {
            (_, Payload::Error(error)) => log_unhandled(self.socket, event, error),
            (Event::Custom(_) | Event::Message, _) => {
                if let (Event::Custom(name), Payload::Data(_)) = (event, payload) {
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
        let Self { socket, conn, events_first, events_left, .. } = self;
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
        let mut reading = pin!(conn.read());
        let mut poll_message = |cx: &mut Context<'_>| {
            reading.as_mut().poll(cx).map(|read| read.ok().map(Input::Message))
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

/// Runs the handlers of an event, and waits for the end of the connection meanwhile.
async fn handle(socket: &Socket, conn: &Conn, event: Event, payload: Payload) {
    let mut handling = pin!(dispatch(socket, event, payload));
    if poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx).is_ready())).await {
        return;
    }
    // It reads ahead, too: messages that arrive before the end are not lost.
    let mut closed = pin!(conn.closed());
    let (mut is_open, mut poll_handler) = (true, false);
    poll_fn(|cx| {
        // It was polled just now.
        if std::mem::replace(&mut poll_handler, true) && handling.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if is_open && closed.as_mut().poll(cx).is_ready() {
            is_open = false;
            socket.0.stop_sending();
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory of the task of each idle socket.
    #[tokio::test]
    async fn the_future_that_serves_a_socket_is_small() {
        let (conn, _peer) = ws_core::pair();
        let size = size_of_val(&serve(Hub::new(), conn));
        assert!(size <= 816, "{size}");
    }
}
