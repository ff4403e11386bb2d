//! How is a Socket.IO session served: one socket for each namespace of the client?
//!
//! One task reads the packets of a session, and runs the sockets of its namespaces. A packet for a
//! namespace waits in the inbox of its [`NamespaceLink`]; while an inbox is full, the session is
//! not read. Its end is noticed nevertheless.
//!
//! Longer than 400 lines because the task and its steps are read together.

use std::future::{pending, poll_fn};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::task::yield_now;
use tokio::time::Instant;
use ws_core::{CloseError, Error, Message, StatusCode};

use crate::delivery::wire_format::WireFormat;
use crate::delivery::writer::timeout;
use crate::engine::{EngineEnd, EngineEndKind, EngineSession, after};
use crate::events::data_de::from_json;
use crate::events::protocol::{IncomingEvent, PeerData, Received, is_valid_name};
use crate::link::Link;
use crate::namespace_link::{LinkGroup, NamespaceEnd, NamespaceLink};
use crate::session::namespaces::{Expelled, Links, RunSocket, Sockets};
use crate::session::task::serve_link;
use crate::socketio::{Packet, PacketDecoder, PacketType, ROOT, SocketIoLimits};
use crate::{Event, Hub};

/// The name of the namespace in which most clients are.
static ROOT_NAME: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(ROOT));

/// The reason for the end of a client that is in no namespace.
const NO_NAMESPACE: &str = "no namespace within `SocketIoLimits::connect_timeout`";

/// After this many packets other tasks run.
const MAX_TURN: u8 = 64;

impl Hub {
    /// Serves a session of Socket.IO to its end. For each namespace to which the client connects,
    /// makes a socket of that namespace, as in [`Hub::of`]. For adapters, such as
    /// `ws-events-socketio`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the session ends, and its sockets leave the
    /// hub. The handlers of `disconnect` then run in another task.
    pub fn serve_engine(&self, session: EngineSession) -> impl Future<Output = ()> + Send + use<> {
        self.accept_socketio();
        let mut task = SessionTask::new(self, session);
        async move {
            let end = task.run().await;
            // Boxed: a session holds no memory for its end.
            Box::pin(task.finish(end)).await;
        }
    }
}

impl Hub {
    /// Announces that the hub will serve clients of Socket.IO, so that it can send events before
    /// the first of them connects. For adapters.
    pub fn accept_socketio(&self) {
        self.0.serves(WireFormat::SocketIo);
        for namespace in self.0.namespaces.all() {
            namespace.0.serves(WireFormat::SocketIo);
        }
    }
}

/// The task of one session. Small: an idle client costs little more than this.
struct SessionTask {
    group: Arc<LinkGroup>,
    closing: Option<Box<Closing>>,
    expelled: Option<Box<Expelled>>,
    decoder: PacketDecoder,
    /// The namespaces in which the client is or to which it connects.
    links: Links,
    sockets: Sockets,
    /// When the client has to be in a namespace.
    connect_by: Instant,
    /// A packet for a link whose inbox is full.
    waiting: Option<Box<WaitingPacket>>,
    /// Whether the end of the session was noticed before the last packet was read.
    has_ended: bool,
    /// Dropped last: a drain of the hub waits for the session.
    hub: CountedHub,
}

/// The session is closed with this code as soon as all namespaces have sent their last messages, and
/// at this time at the latest.
struct Closing {
    code: StatusCode,
    by: Instant,
}

struct WaitingPacket {
    link: Arc<NamespaceLink>,
    received: Option<(Received, usize)>,
}

/// What the task does next.
enum Step {
    Message(Message),
    /// A socket has left its namespace.
    Left(Arc<NamespaceLink>),
    /// The packet that waited is in its inbox.
    Pushed,
    /// The session has ended, and more packets have arrived before.
    Ended(EngineEnd),
    /// The application closes the session.
    Close(StatusCode, String),
    /// The client is in no namespace, and was not for too long, or the hub drains.
    Idle(StatusCode, &'static str),
    /// The session has ended, and its last packet is read.
    End(EngineEnd),
}

/// Why the session must end: with which code, and the reason for the handlers.
struct Invalid(EngineEndKind, StatusCode, String);

impl Invalid {
    fn packet(reason: impl ToString) -> Self {
        Self(EngineEndKind::ParseError, StatusCode::PROTOCOL_ERROR, reason.to_string())
    }
}

impl SessionTask {
    fn new(hub: &Hub, session: EngineSession) -> Self {
        let limits = &hub.0.socketio;
        Self {
            group: Arc::new(LinkGroup::new(session)),
            closing: None,
            expelled: None,
            decoder: PacketDecoder::shared(Arc::clone(limits)),
            links: Links::default(),
            sockets: Sockets::default(),
            connect_by: after(Instant::now(), limits.connect_timeout),
            waiting: None,
            has_ended: false,
            hub: CountedHub::new(hub),
        }
    }

    fn session(&self) -> &EngineSession {
        self.group.session()
    }

    fn limits(&self) -> &SocketIoLimits {
        &self.hub.0.0.socketio
    }

    /// Serves the session until it has to end, or has ended.
    async fn run(&mut self) -> EngineEnd {
        let mut turn = 0;
        loop {
            let mut idle = self.idle();
            match poll_fn(|cx| self.poll_step(cx, idle.as_mut())).await {
                Step::Message(message) => {
                    if let Err(Invalid(kind, code, reason)) = self.receive(message) {
                        self.log_breach(code, &reason);
                        return EngineEnd { kind, error: CloseError::new(code, reason).into() };
                    }
                }
                Step::Left(link) => self.remove(&link),
                Step::Pushed => self.waiting = None,
                Step::Ended(end) => {
                    self.links.iter().for_each(|link| link.disconnect(&end));
                    self.has_ended = true;
                }
                Step::Close(code, reason) => {
                    // A half is left for the close frame and its answer.
                    let by = after(Instant::now(), self.session().close_timeout() / 2);
                    self.closing.get_or_insert_with(|| Box::new(Closing { code, by }));
                    // A hub that drains closes all of its sockets, and counts them.
                    if !self.hub.0.is_draining() {
                        self.links.iter().for_each(|link| link.close_socket(code, &reason));
                    }
                }
                Step::Idle(code, reason) => {
                    if !reason.is_empty() {
                        self.log_breach(code, reason);
                    }
                    let error = CloseError::new(code, reason).into();
                    return EngineEnd { kind: EngineEndKind::Closed, error };
                }
                Step::End(end) => return end,
            }
            turn += 1;
            if turn == MAX_TURN {
                turn = 0;
                yield_now().await;
            }
        }
    }

    /// Logs that the client has to go: once for a session. The reason has the text of a peer escaped.
    fn log_breach(&self, code: StatusCode, reason: &str) {
        let session = self.session();
        tracing::info!(
            conn = session.conn_id(),
            peer = session.peer_addr().map(tracing::field::display),
            code = code.as_u16(),
            reason,
            "a session of Socket.IO was closed"
        );
    }

    /// Ends the namespaces and the session, and waits for the handlers of `disconnect`.
    async fn finish(&mut self, end: EngineEnd) {
        let noticed = self.has_ended.then(|| self.session().end_reason()).flatten();
        let end = noticed.unwrap_or(end);
        for link in self.links.iter() {
            link.end(NamespaceEnd::Session(end.clone()));
        }
        let session = self.session().clone();
        let (code, reason) = match &end.error {
            Error::Closed(close) => (close.code, &*close.reason),
            _ => (StatusCode::POLICY_VIOLATION, ""),
        };
        let sockets = &mut self.sockets;
        let handle_ends = async { while poll_fn(|cx| sockets.poll_next(cx)).await.is_some() {} };
        let tell_client = async {
            // Without effect on a session that has ended.
            session.close_because(code, reason).await;
            timeout(session.close_timeout(), session.client_told()).await;
        };
        tokio::join!(tell_client, handle_ends);
    }

    /// What a session waits for that is closing, or whose client is in no namespace. Boxed, since a
    /// session waits for neither most of the time.
    fn idle(&self) -> Option<BoxFuture<'static, Step>> {
        let limit = |by: Instant| by.saturating_duration_since(Instant::now());
        if let Some(&Closing { code, by }) = self.closing.as_deref() {
            return Some(Box::pin(async move {
                timeout(limit(by), pending::<()>()).await;
                Step::Idle(code, "")
            }));
        }
        if !self.links.is_empty() {
            return None;
        }
        let (hub, by) = (self.hub.0.clone(), self.connect_by);
        Some(Box::pin(async move {
            match timeout(limit(by), hub.0.drain_started()).await {
                Some(()) => Step::Idle(StatusCode::GOING_AWAY, ""),
                None => Step::Idle(StatusCode::POLICY_VIOLATION, NO_NAMESPACE),
            }
        }))
    }

    /// Polls for the next step; `idle` is the result of [`idle`](Self::idle).
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        idle: Option<&mut BoxFuture<'static, Step>>,
    ) -> Poll<Step> {
        if let Poll::Ready((code, reason)) = self.group.poll_close(cx) {
            return Poll::Ready(Step::Close(code, reason));
        }
        // The sockets first, since a message of one may be the last one.
        if let Poll::Ready(Some(link)) = self.sockets.poll_next(cx) {
            return Poll::Ready(Step::Left(link));
        }
        if let Some(&Closing { code, .. }) = self.closing.as_deref()
            && self.links.iter().all(|link| link.is_flushed())
        {
            return Poll::Ready(Step::Idle(code, ""));
        }
        if let Some(waiting) = &mut self.waiting {
            if waiting.link.push(&mut waiting.received) {
                return Poll::Ready(Step::Pushed);
            }
            if !self.has_ended
                && let Poll::Ready(end) = self.session().poll_end(cx)
            {
                return Poll::Ready(Step::Ended(end));
            }
            return match (&self.closing, idle) {
                (Some(_), Some(idle)) => idle.poll_unpin(cx),
                _ => Poll::Pending,
            };
        }
        if let Poll::Ready(message) = self.session().poll_receive(cx) {
            return match message {
                Some(message) => Poll::Ready(Step::Message(message)),
                None => self.session().poll_end(cx).map(Step::End),
            };
        }
        idle.map_or(Poll::Pending, |idle| idle.poll_unpin(cx))
    }

    /// Decodes a message, and carries out the packet that it completes.
    fn receive(&mut self, message: Message) -> Result<(), Invalid> {
        let packet = self.decoder.decode(message).map_err(Invalid::packet)?;
        let Some(packet) = packet else { return Ok(()) };
        // The client may connect again before the handlers of `disconnect` have returned.
        let link = self.links.get(&packet.namespace).filter(|link| !link.has_ended()).cloned();
        match (packet.kind, link) {
            (PacketType::Connect, None) => self.connect(&packet),
            (PacketType::Disconnect, Some(link)) => {
                link.end(NamespaceEnd::Client);
                self.remove(&link);
                Ok(())
            }
            (PacketType::Event | PacketType::Ack, Some(link)) if link.is_accepted() => {
                let size = packet.attachments.iter().map(bytes::Bytes::len).sum::<usize>();
                let size = size.saturating_add(packet.data.len());
                let received = (received(packet), size);
                self.push(link, received);
                Ok(())
            }
            // Sent before the client knew that it has to leave.
            (PacketType::Event | PacketType::Ack | PacketType::Disconnect, None)
                if self.has_expelled(&packet.namespace) =>
            {
                Ok(())
            }
            _ => Err(Invalid::packet("a packet out of order")),
        }
    }

    /// Puts a packet into the inbox of a link, or keeps it until there is room.
    fn push(&mut self, link: Arc<NamespaceLink>, received: (Received, usize)) {
        let mut received = Some(received);
        if !link.push(&mut received) {
            self.waiting = Some(Box::new(WaitingPacket { link, received }));
        }
    }

    fn connect(&mut self, packet: &Packet) -> Result<(), Invalid> {
        if self.closing.is_some() {
            return Ok(());
        }
        if self.sockets.len() >= self.limits().namespaces {
            let reason = "more namespaces than `SocketIoLimits::namespaces`".to_owned();
            return Err(Invalid(
                EngineEndKind::TransportError,
                StatusCode::POLICY_VIOLATION,
                reason,
            ));
        }
        let name = match &*packet.namespace {
            ROOT => Arc::clone(&ROOT_NAME),
            name => Arc::from(name),
        };
        if let Some(expelled) = &mut self.expelled {
            expelled.remove(&name);
        }
        let group = Arc::clone(&self.group);
        let format = self.decoder.format();
        let link = Arc::new(NamespaceLink::new(group, name, format, &packet.data));
        if self.has_ended
            && let Some(end) = self.session().end_reason()
        {
            link.disconnect(&end);
        }
        self.links.insert(Arc::clone(&link));
        self.sockets.push(serve_namespace(&self.hub.0, link));
        Ok(())
    }

    /// A socket has left its namespace. Meanwhile the client may have connected again.
    fn remove(&mut self, link: &Arc<NamespaceLink>) {
        if self.links.get(link.name()).is_some_and(|other| Arc::ptr_eq(other, link)) {
            self.links.remove(link.name());
            if link.was_ended_by_server() {
                let limit = self.limits().namespaces;
                self.expelled.get_or_insert_default().add(link.name(), limit);
            }
            if link.was_accepted() {
                self.connect_by = after(Instant::now(), self.limits().connect_timeout);
            }
        }
        // A packet that waits for it is dropped by `push`.
    }

    /// Whether this side has told the client to leave a namespace, to which it has not connected
    /// again.
    fn has_expelled(&self, namespace: &str) -> bool {
        let is_leaving = self.links.get(namespace).is_some_and(|link| link.was_ended_by_server());
        is_leaving || self.expelled.as_ref().is_some_and(|names| names.contains(namespace))
    }
}

impl Drop for SessionTask {
    fn drop(&mut self) {
        self.session().close_now();
    }
}

/// The hub of a session. Counts the session, for a drain of the hub, until it is dropped.
struct CountedHub(Hub);

impl CountedHub {
    fn new(hub: &Hub) -> Self {
        hub.0.sessions.fetch_add(1, SeqCst);
        Self(hub.clone())
    }
}

impl Drop for CountedHub {
    fn drop(&mut self) {
        let hub = &self.0.0;
        if hub.sessions.fetch_sub(1, SeqCst) == 1 {
            hub.idle.notify_waiters();
        }
    }
}

/// Serves the socket of one namespace to its end.
fn serve_namespace(hub: &Hub, link: Arc<NamespaceLink>) -> RunSocket {
    let Some(lease) = hub.lease(link.name()) else {
        return Box::pin(async move {
            link.refuse("Invalid namespace", None).await;
            link.end(NamespaceEnd::Server);
            link
        });
    };
    let format = WireFormat::of_packets(link.format());
    let format = match lease.namespace.0.recovery() {
        None => format,
        Some(_) => format.resumable(),
    };
    Box::pin(async move {
        let connection = Link::Namespace(Arc::clone(&link));
        serve_link(lease.namespace.clone(), connection, format).await;
        drop(lease);
        // Also after a refusal.
        link.end(NamespaceEnd::Server);
        link
    })
}

/// What an event or an acknowledgement means for the socket.
fn received(packet: Packet) -> Received {
    let Packet { kind, id, name, data, args, attachments, .. } = packet;
    let data = PeerData { json: Message::from(data), attachments };
    match (kind, id) {
        (PacketType::Ack, Some(id)) => Received::Ack { id, data },
        _ if name == Event::Message.as_str() => {
            let data = if args == 1 { as_message(data) } else { data };
            Received::Event(IncomingEvent { name: name.into(), data, ack: id })
        }
        _ if is_valid_name(&name) => {
            Received::Event(IncomingEvent { name: name.into(), data, ack: id })
        }
        _ => Received::Malformed("the event name is reserved, empty or too long".into()),
    }
}

/// The only argument of an event `message`: a string is a text message, and an attachment a binary
/// one. Anything else stays JSON.
fn as_message(data: PeerData) -> PeerData {
    let PeerData { json, attachments } = data;
    if let [attachment] = attachments.as_slice()
        && let Ok(bytes) = from_json::<bytes::Bytes>(json.as_bytes(), &attachments)
        && bytes == *attachment
    {
        return PeerData::new(Message::binary(attachment.clone()));
    }
    match serde_json::from_slice::<String>(json.as_bytes()) {
        Ok(text) => PeerData::new(Message::from(text)),
        Err(_) => PeerData { json, attachments },
    }
}
