//! What can an application do with one socket, and what does a socket consist of?
//!
//! Longer than 400 lines because the public handle and the state behind it are read together.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::task::Waker;

use bytes::Bytes;
use once_cell::race::OnceBox;
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ws_core::proto::CloseFrame;
use ws_core::{Attributes, Conn, Message, PreparedMessage, RequestInfo, SendError, StatusCode};

use crate::delivery::enqueue::{enqueue, enqueue_encoded, enqueue_wait};
use crate::delivery::recipient::{DeliveryShared, Recipient};
use crate::delivery::send_queue::{CloseCommand, EnqueueResult, SendQueue};
use crate::delivery::wire_format::{Encodings, WireFormat};
use crate::events::handler::{EventListeners, erase};
use crate::events::payload::{Payload, QueuedEvent};
use crate::events::protocol::{Content, replace_offset};
use crate::hub::HubShared;
use crate::hub::acks::AckTable;
use crate::hub::membership::Membership;
use crate::hub::sessions::{HubRecovery, SocketRecovery};
use crate::link::Link;
use crate::recovery::offset::SentMessage;
use crate::recovery::sent_log::SentLog;
use crate::registry::ids::{OwnId, RegisterError};
use crate::sync::Runtime;
use crate::{
    Broadcast, EmitError, EmitWithAck, EncodeError, Event, EventError, Handler, HandlerArgs, Hub,
    Id, ListenerId, Overflow, SetIdError, SocketStats,
};

/// A socket of a [`Hub`]: a connection with an id, attributes, rooms and handlers.
///
/// A clone is a handle of the same socket. Its calls never wait, except
/// [`send_wait`](Self::send_wait) and [`emit_wait`](Self::emit_wait): a message is put into the
/// [send queue](crate::SendQueueLimits) of the socket. A handle does not keep the connection open.
/// After the end, it keeps no attributes and handlers in memory.
#[derive(Clone)]
#[doc(alias("client", "session"))]
pub struct Socket(pub(crate) Arc<SocketShared>);

impl Socket {
    /// The hub of the socket.
    pub fn hub(&self) -> Hub {
        Hub(Arc::clone(&self.0.hub))
    }

    /// Its id.
    pub fn id(&self) -> Id {
        Id(self.0.id.get())
    }

    /// Changes its id. Setting the current id changes nothing, and is not an error.
    ///
    /// # Errors
    ///
    /// If another socket has the id, or this one is disconnected. The id is unchanged then. While
    /// middleware runs, the id is only requested: if another socket gets it first, this one is
    /// rejected.
    pub fn set_id(&self, id: impl Into<Id>) -> Result<(), SetIdError> {
        let renamed = self.0.hub.ids.rename(&self.0, &self.0.id, id.into().0);
        renamed.map_err(|error| match error {
            RegisterError::Taken => SetIdError::Taken,
            RegisterError::Released => SetIdError::Closed,
        })
    }

    /// Its attributes: data of the application, by type or by name. They begin as a copy of the
    /// [attributes of the connection](ws_core::Conn::attributes). A handler gets one of them as an
    /// [`Attribute<T>`](crate::Attribute) argument.
    ///
    /// The attributes are removed after the handlers of `disconnect`. Attributes that are set later
    /// are not stored.
    pub fn attributes(&self) -> &Attributes {
        &self.0.attributes
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// If the message is not queued. [`EmitError::Full`] and [`EmitError::SlowConsumer`] depend
    /// on the [`Overflow`] of the hub.
    #[doc(alias = "write")]
    pub fn send(&self, message: impl Into<Message>) -> Result<(), EmitError> {
        self.send_prepared(&PreparedMessage::new(message))
    }

    /// Sends a prepared message.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&self, message: &PreparedMessage) -> Result<(), EmitError> {
        emit_result(self.push(Content::Message(message, self.0.hub.namespace())))
    }

    /// Puts a message into the queue, in the format of the socket.
    fn push(&self, content: Content<'_>) -> EnqueueResult {
        if self.0.format.is_resumable() {
            let encode = |format, at| content.encode(format, at);
            let mut encodings = Encodings::each(&encode);
            encodings.set_sent(self.0.hub.recovery().map(HubRecovery::next_plain));
            return self.push_encoded(&mut encodings);
        }
        enqueue(&self.0, &content.encode(self.0.format, None))
    }

    /// Puts a message into the queue, which may have been encoded already.
    fn push_encoded(&self, message: &mut Encodings<'_>) -> EnqueueResult {
        let result = enqueue_encoded(&self.0, self.0.format, message);
        self.count_missed(result);
        result
    }

    /// Counts a message that the session of a closed socket has missed.
    fn count_missed(&self, result: EnqueueResult) {
        if let EnqueueResult::Closed = result
            && let Some(recovery) = self.0.hub.recovery()
        {
            recovery.count_for_id(&self.0.id.get());
        }
    }

    /// Sends a question or an answer, in the format of the socket. It may be lost with the connection. If
    /// the session can be recovered, its log holds it back as others, and knows what was dropped for it.
    pub(crate) fn send_without_offset(&self, message: &PreparedMessage) -> Result<(), EmitError> {
        if !self.0.format.is_resumable() {
            return emit_result(enqueue(&self.0, message));
        }
        let encode = |_, _| message.clone();
        emit_result(enqueue_encoded(&self.0, self.0.format, &mut Encodings::each(&encode)))
    }

    /// Sends a message in the format of the socket.
    pub(crate) fn send_encoded(&self, message: &mut Encodings<'_>) -> Result<(), EmitError> {
        emit_result(self.push_encoded(message))
    }

    /// Sends an event with data that is serialised as JSON.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and if the event cannot be encoded.
    pub fn emit<T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<(), EmitError> {
        let event = self.0.hub.event(event.as_ref(), data)?;
        emit_result(self.push(Content::Event(&event)))
    }

    /// Sends an event that the peer has to acknowledge. Await the result for the answer,
    /// deserialised from JSON as [`Json`](crate::Json) is.
    ///
    /// The call queues the event at once, in order with all other messages. The `await` takes at
    /// most 10 s, or the [`timeout`](EmitWithAck::timeout). A handler may await it. Meanwhile, the
    /// hub reads the connection, and queues other messages for their handlers, until it has 64
    /// messages or 64 KiB. Then it stops reading, and the result is
    /// [`AckError::Timeout`](crate::AckError::Timeout).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ws_events::{AckError, Socket};
    /// async fn confirm(socket: &Socket) -> Result<bool, AckError> {
    ///     socket.emit_with_ack("confirm", "delete it?").timeout(Duration::from_secs(60)).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The result is an [`AckError`](crate::AckError) if no answer comes in time or it has another
    /// type, if the event was not sent, or if the socket already waits for too many
    /// acknowledgements, by default 1,024.
    #[doc(alias("request", "timeout"))]
    pub fn emit_with_ack<R, T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> EmitWithAck<R> {
        EmitWithAck::new(self, |id| {
            let mut event = self.0.hub.event(event.as_ref(), data)?;
            event.ack = Some(id);
            self.send_without_offset(&event.encode(self.0.format, None))
        })
    }

    /// Sends a message, and with [`Overflow::Block`] waits for room in the send queue first. With
    /// any other overflow policy, it is the same as [`send`](Self::send).
    ///
    /// A handler that waits for the socket of its own event delays only the events of this
    /// socket. Senders that wait for room are served in no particular order.
    ///
    /// # Errors
    ///
    /// As `send`. [`EmitError::Full`] after the duration of `Block`; [`EmitError::Closed`] if
    /// the socket is closed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the message is not sent.
    pub async fn send_wait(&self, message: impl Into<Message>) -> Result<(), EmitError> {
        let message = PreparedMessage::new(message);
        self.wait_and_enqueue(Content::Message(&message, self.0.hub.namespace())).await
    }

    /// Sends an event, and waits as [`send_wait`](Self::send_wait) does.
    ///
    /// # Errors
    ///
    /// As `send_wait`, and if the event cannot be encoded.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the event is not sent.
    pub async fn emit_wait<T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<(), EmitError> {
        let event = self.0.hub.event(event.as_ref(), data)?;
        self.wait_and_enqueue(Content::Event(&event)).await
    }

    async fn wait_and_enqueue(&self, content: Content<'_>) -> Result<(), EmitError> {
        let Overflow::Block(limit) = self.0.delivery().limits.overflow else {
            return emit_result(self.push(content));
        };
        let sent = self.0.recovery().and_then(|_| Some(self.0.hub.recovery()?.next_plain()));
        let message = content.encode(self.0.format, sent.as_ref().map(|sent| sent.offset));
        let result = enqueue_wait(&*self.0, &message, sent.as_ref(), limit).await;
        if sent.is_some() {
            self.count_missed(result);
        }
        emit_result(result)
    }

    /// Sends a message to another socket.
    ///
    /// # Errors
    ///
    /// [`EmitError::NoSuchId`] if no socket has the id; otherwise as [`send`](Self::send). An id of
    /// another node of a [cluster](crate::cluster) is as in [`Hub::emit_to`]. For an
    /// unknown id, this socket also gets an `error` event with [`EventError::NoSuchId`].
    pub fn send_to(
        &self,
        id: impl AsRef<str>,
        message: impl Into<Message>,
    ) -> Result<(), EmitError> {
        let (hub, message) = (self.hub(), PreparedMessage::new(message));
        let sent = hub.find(id.as_ref()).and_then(|socket| socket.send_prepared(&message));
        self.report(match sent {
            Err(EmitError::NoSuchId(id))
                if hub.publish_elsewhere(std::slice::from_ref(&id), |others| {
                    others.send_prepared(&message).cluster
                }) =>
            {
                Ok(())
            }
            sent => sent,
        })
    }

    /// Sends an event to another socket.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and if the event cannot be encoded.
    pub fn emit_to<T: Serialize + ?Sized>(
        &self,
        id: impl AsRef<str>,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<(), EmitError> {
        self.report(self.hub().emit_to(id, event, data))
    }

    /// Sends an event to several other sockets, and returns the result for each. It is encoded
    /// once. An unknown id is reported as in [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// If the event cannot be encoded. Nothing is sent then.
    #[expect(clippy::type_complexity, reason = "an alias would hide the type")]
    pub fn emit_to_list<T, I>(
        &self,
        ids: I,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<Vec<(Id, Result<(), EmitError>)>, EncodeError>
    where
        T: Serialize + ?Sized,
        I: IntoIterator<Item: AsRef<str>>,
    {
        let sent = self.hub().emit_to_list(ids, event, data)?;
        Ok(sent.into_iter().map(|(id, result)| (id, self.report(result))).collect())
    }

    fn report(&self, sent: Result<(), EmitError>) -> Result<(), EmitError> {
        if let Err(EmitError::NoSuchId(id)) = &sent {
            self.0.push_event(Event::Error, Payload::Error(EventError::NoSuchId(id.clone())));
        }
        sent
    }

    /// A broadcast to all other sockets. [`Hub::everyone`] includes this one.
    #[doc(alias = "publish")]
    pub fn broadcast(&self) -> Broadcast {
        self.hub().everyone().except_socket(self)
    }

    /// A broadcast to the other sockets in a room.
    #[doc(alias("room", "channel", "topic", "publish"))]
    pub fn to(&self, room: impl AsRef<str>) -> Broadcast {
        self.hub().to(room).except_socket(self)
    }

    /// Calls the handlers of a custom event on the server. Nothing is sent. Returns `false` if the
    /// event has no handlers, if 1,024 events wait for the handlers of the socket, or if the socket
    /// is disconnected.
    ///
    /// Also returns `false` for the hub's own events, such as `disconnect`: only the hub fires
    /// those. So a name that comes from a peer is safe.
    ///
    /// The handlers are called in the task of the socket, after earlier events. An event that is
    /// fired before the socket disconnects is handled before `disconnect`.
    #[doc(alias = "trigger")]
    pub fn fire(&self, event: impl Into<Event>, data: impl Into<Message>) -> bool {
        let event = event.into();
        event.index().is_none() && self.0.push_event(event, Payload::Fired(data.into()))
    }

    /// Adds a handler for this socket alone. It is called after those of the hub.
    #[doc(alias = "subscribe")]
    pub fn on<H, Args>(&self, event: impl Into<Event>, handler: H) -> ListenerId
    where
        H: Handler<Args>,
        Args: HandlerArgs,
    {
        let listeners = &self.0.extras().listeners;
        let event = event.into();
        let is_control = matches!(event, Event::Ping | Event::Pong);
        let id = listeners.add(Some(event), erase(handler));
        if is_control && let Some(conn) = self.conn() {
            self.0.watch_control_frames(&conn);
        }
        if matches!(*self.0.membership.lock(), Membership::Left) {
            // The cleanup of the socket has run already.
            listeners.clear();
        }
        id
    }

    /// Removes a handler of this socket. Returns whether it was registered.
    pub fn off(&self, id: ListenerId) -> bool {
        self.0.extras.get().is_some_and(|extras| extras.listeners.remove(id))
    }

    /// Closes the socket, and does not wait for the end. The connection ends within its
    /// [`close_timeout`](ws_core::Config::close_timeout). Queued messages are sent first, for at
    /// most a quarter of that time; then the closing handshake begins. Does nothing if the socket
    /// is closing already, except that its [session](crate::HubBuilder::recovery) ends: that ends with
    /// this call, unless the code is 1001, 1012 or 1013.
    ///
    /// The code can control whether a client reconnects. By default, `ws_client::Reconnect` gives
    /// up after [`POLICY_VIOLATION`](StatusCode::POLICY_VIOLATION), 1008, and reconnects after an
    /// application code, 4000 or above.
    ///
    /// ```
    /// # fn kick(hub: &ws_events::Hub) -> Result<(), ws_events::SendError> {
    /// use ws_events::StatusCode;
    ///
    /// if let Some(socket) = hub.socket("ann") {
    ///     socket.close(StatusCode::POLICY_VIOLATION, "no shouting in here")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the code must not be sent ([`StatusCode::is_sendable`]), or the reason has more than 123
    /// bytes (RFC 6455 §5.5). The socket stays open then. The code
    /// [`NO_STATUS_RECEIVED`](StatusCode::NO_STATUS_RECEIVED) without a reason is allowed, and
    /// sends an empty close frame.
    #[doc(alias("disconnect", "kick"))]
    pub fn close(&self, code: StatusCode, reason: &str) -> Result<(), SendError> {
        CloseFrame::new(code, reason)?;
        self.0.close(CloseCommand::new(code, reason));
        Ok(())
    }

    /// As [`close`](Self::close), and closes the whole session of a client of Socket.IO: its sockets
    /// in all namespaces are closed with this code and reason, each after its queued messages, and
    /// then the connection. A client of another protocol has no other sockets.
    ///
    /// # Errors
    ///
    /// As `close`.
    #[doc(alias("disconnect", "kick"))]
    pub fn close_session(&self, code: StatusCode, reason: &str) -> Result<(), SendError> {
        self.close(code, reason)?;
        self.0.with_link(|link| {
            if let Some(link) = link.namespace() {
                link.group().close(code, reason);
            }
        });
        Ok(())
    }

    /// Whether messages can still be queued for it. It may be `true` although the connection is
    /// lost, until the loss is detected.
    pub fn is_alive(&self) -> bool {
        self.0.queue.state().accepts_messages()
    }

    /// The statistics of its send queue.
    pub fn stats(&self) -> SocketStats {
        self.0.queue.stats()
    }

    /// Its connection, for pings and for information about it. `None` after the handlers of
    /// `disconnect`, and as soon as the task of the socket is dropped. Also `None` for a client of
    /// Socket.IO, whose connection belongs to several sockets and may change.
    ///
    /// Do not read from it: the hub reads, and each message goes to only one reader. A message that
    /// is written to it overtakes the send queue.
    #[doc(alias = "split")]
    pub fn conn(&self) -> Option<Conn> {
        self.0.with_link(|link| link.conn().cloned())?
    }

    /// The HTTP request of the connection, if the adapter keeps it; for a client of Socket.IO, its
    /// first request. `None` after the end, as [`conn`](Self::conn).
    pub fn request(&self) -> Option<Arc<RequestInfo>> {
        self.0.with_link(Link::request)?
    }

    /// The value that a client of Socket.IO has sent as `auth`, deserialised from JSON. It is `null`
    /// if there is none, and for other protocols. The client chooses it: middleware should check it.
    ///
    /// ```
    /// # use ws_events::{ConnectRejection, Hub, Socket};
    /// # #[derive(serde::Deserialize)]
    /// struct Auth {
    ///     token: String,
    /// }
    ///
    /// # let hub = Hub::new();
    /// hub.middleware(async |socket: Socket| match socket.auth::<Auth>() {
    ///     Ok(auth) if auth.token == "secret" => Ok(()),
    ///     _ => Err(ConnectRejection::new("a token is required")),
    /// });
    /// ```
    ///
    /// # Errors
    ///
    /// If the value is of another type.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let auth =
            self.0.with_link(|link| link.namespace().map(|it| serde_json::from_str(it.auth())));
        auth.flatten().unwrap_or_else(|| serde_json::from_str("null"))
    }

    /// The address of the peer, if it is known; `None` after the end, as [`conn`](Self::conn).
    #[doc(alias = "remote_addr")]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.with_link(Link::peer_addr)?
    }
}

pub(crate) const fn emit_result(result: EnqueueResult) -> Result<(), EmitError> {
    match result {
        EnqueueResult::Queued { .. } => Ok(()),
        EnqueueResult::Dropped => Err(EmitError::Full),
        EnqueueResult::SlowConsumer { .. } => Err(EmitError::SlowConsumer),
        EnqueueResult::Closed => Err(EmitError::Closed),
    }
}

/// Two handles of the same socket are equal.
impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id())
            .field("state", &self.0.queue.state())
            .finish_non_exhaustive()
    }
}

/// The queues of a socket.
pub(crate) type SocketQueue = SendQueue<PreparedMessage, QueuedEvent>;

/// What the handles of a socket share.
pub(crate) struct SocketShared {
    pub(crate) hub: Arc<HubShared>,
    /// Where its task runs.
    runtime: Option<Runtime>,
    pub(crate) id: OwnId,
    pub(crate) queue: Arc<SocketQueue>,
    pub(crate) attributes: Attributes,
    /// Taken at the end, so that a handle does not keep the connection. A batch writer holds
    /// the read lock while it writes, and a callback of the connection may lock it again.
    link: RwLock<Option<Link>>,
    pub(crate) membership: Mutex<Membership>,
    /// What few sockets have.
    pub(crate) extras: OnceBox<SocketExtras>,
    pub(crate) format: WireFormat,
    /// Whether a warning about data of the peer was logged.
    pub(crate) warned: AtomicBool,
}

/// What a socket has once it is used.
#[derive(Default)]
pub(crate) struct SocketExtras {
    /// The handlers of this socket alone.
    pub(crate) listeners: EventListeners,
    pub(crate) acks: AckTable,
    /// If its session can be recovered.
    pub(crate) recovery: Option<SocketRecovery>,
}

impl SocketShared {
    pub(crate) fn new(hub: Arc<HubShared>, link: Link, format: WireFormat) -> Arc<Self> {
        let queue = hub.queues.take();
        queue.set_format(format);
        let extras = OnceBox::new();
        if format.is_resumable() {
            let recovery = Some(SocketRecovery::new());
            let _ = extras.set(Box::new(SocketExtras { recovery, ..SocketExtras::default() }));
        }
        Arc::new(Self {
            hub,
            runtime: Runtime::try_current().ok(),
            id: OwnId::new(Id::random().0),
            queue,
            attributes: link.attributes(),
            link: RwLock::new(Some(link)),
            membership: Mutex::new(Membership::Pending),
            extras,
            format,
            warned: AtomicBool::new(false),
        })
    }

    pub(crate) fn extras(&self) -> &SocketExtras {
        self.extras.get_or_init(Box::<SocketExtras>::default)
    }

    /// The handlers of this socket alone, if there are any.
    pub(crate) fn own_listeners(&self) -> Option<&EventListeners> {
        self.extras.get().map(|extras| &extras.listeners)
    }

    /// Releases the connection.
    pub(crate) fn drop_link(&self) {
        let link = self.link.write().take();
        // Dropped without the lock: it may run code of the application.
        drop(link);
    }

    /// Whether an event has a handler, of the hub or of this socket.
    pub(crate) fn has_handler(&self, event: &Event) -> bool {
        self.hub.listeners.has_handler(event)
            || self.own_listeners().is_some_and(|listeners| listeners.has_handler(event))
    }

    /// Turns pings and pongs into events, if they have handlers. The connection keeps these
    /// callbacks until it ends.
    pub(crate) fn watch_control_frames(self: &Arc<Self>, conn: &Conn) {
        // Weak references: the socket owns the connection, which owns the callbacks.
        if self.has_handler(&Event::Ping) {
            let socket = Arc::downgrade(self);
            conn.on_ping(move |_, payload| {
                Self::push_control(&socket, Event::Ping, payload);
                true
            });
        }
        if self.has_handler(&Event::Pong) {
            let socket = Arc::downgrade(self);
            conn.on_pong(move |_, payload| Self::push_control(&socket, Event::Pong, payload));
        }
    }

    fn push_control(socket: &Weak<Self>, event: Event, payload: &Bytes) {
        if let Some(socket) = socket.upgrade() {
            socket.push_event(event, Payload::Data(Message::binary(payload.clone())));
        }
    }

    /// Queues an event, if it has a handler and the queue has room. Returns whether it did.
    /// Called without any lock.
    pub(crate) fn push_event(&self, event: Event, payload: Payload) -> bool {
        self.has_handler(&event) && self.queue.push_event(QueuedEvent { event, payload })
    }

    /// Queues a room event, which is never dropped. Called under the lock of the membership, so
    /// that these events are in order, and none comes after the end. The waker must be woken
    /// without the lock.
    pub(crate) fn push_room_event(&self, event: Event, room: &Arc<str>) -> Option<Waker> {
        if !self.has_handler(&event) {
            return None;
        }
        let payload = Payload::Room(Arc::clone(room));
        self.queue.push_event_unbounded(QueuedEvent { event, payload })
    }

    /// Drops what belongs to the application, and the connection.
    pub(crate) fn release(&self) {
        // First, since dropping a value of the application may panic.
        self.drop_link();
        drop(self.queue.take_events());
        self.attributes.seal();
        if let Some(listeners) = self.own_listeners() {
            listeners.clear();
        }
        self.close_acks();
    }
}

impl Recipient for SocketShared {
    type Event = QueuedEvent;

    fn queue(&self) -> &SocketQueue {
        &self.queue
    }

    fn delivery(&self) -> &DeliveryShared {
        &self.hub.delivery
    }

    fn runtime(&self) -> Option<&Runtime> {
        self.runtime.as_ref()
    }

    fn sent_log(&self) -> Option<&Mutex<SentLog<PreparedMessage>>> {
        Some(&self.recovery()?.log)
    }

    fn with_offsets(
        &self,
        log: &SentLog<PreparedMessage>,
        message: PreparedMessage,
        sent: Option<&SentMessage>,
    ) -> PreparedMessage {
        let most = self.room_offsets();
        let replaced = || {
            let sent = sent.filter(|_| most > 1)?;
            replace_offset(&message, sent.offset, &log.offsets(sent, most)?)
        };
        replaced().unwrap_or(message)
    }

    fn lost(&self) {
        self.session_changed();
    }

    fn with_link<T>(&self, use_link: impl FnOnce(&Link) -> T) -> Option<T> {
        self.link.read_recursive().as_ref().map(use_link)
    }

    fn prefetch_link(&self) {
        std::hint::black_box(self.link.is_locked());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory of each socket, besides its queue.
    #[test]
    fn a_socket_is_small() {
        assert!(size_of::<SocketShared>() <= 288, "{}", size_of::<SocketShared>());
    }
}
