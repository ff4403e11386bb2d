//! How is a Socket.IO session served: one socket for each namespace of the client?
//!
//! One task reads the packets of a session, and runs the sockets of its namespaces. A packet for a
//! namespace waits in the inbox of its [`NamespaceLink`]; while an inbox is full, the session is
//! not read. Its end is noticed nevertheless.
//!
//! Longer than 400 lines because the task and its steps are read together.

use std::collections::{HashMap, VecDeque};
use std::future::{Future as _, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Poll;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::task::yield_now;
use tokio::time::Instant;
use ws_core::{CloseError, Error, Message, StatusCode};

use crate::delivery::wire_format::WireFormat;
use crate::delivery::writer::timeout;
use crate::engine::{EngineEnd, EngineEndKind, EngineSession, after};
use crate::events::data_de::from_json;
use crate::events::protocol::{IncomingEvent, PeerData, Received, is_valid_name};
use crate::hub::HubShared;
use crate::link::Link;
use crate::namespace_link::{LinkGroup, NamespaceEnd, NamespaceLink};
use crate::session::task::serve_link;
use crate::socketio::{Packet, PacketDecoder, PacketType, SocketIoLimits};
use crate::{Event, Hub};

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
    pub async fn serve_engine(&self, session: EngineSession) {
        self.accept_socketio();
        let _counted = SessionCount::new(self);
        // In its final place: an idle session holds it once.
        let mut task = Box::new(SessionTask::new(self, session));
        let end = task.run().await;
        Box::pin(task.finish(end)).await;
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

/// The task of one session.
struct SessionTask {
    hub: Hub,
    session: EngineSession,
    group: Arc<LinkGroup>,
    /// The session is closed with this code as soon as all namespaces have sent their last messages,
    /// and at this time at the latest.
    closing: Option<(StatusCode, Instant)>,
    /// Namespaces that the client has to leave, and from which it may still send.
    expelled: VecDeque<Arc<str>>,
    limits: SocketIoLimits,
    decoder: PacketDecoder,
    /// The namespaces in which the client is or to which it connects.
    links: HashMap<Arc<str>, Arc<NamespaceLink>>,
    /// Their sockets, and those that have yet to run the handlers of their end.
    sockets: FuturesUnordered<BoxFuture<'static, Arc<NamespaceLink>>>,
    /// When the client has to be in a namespace.
    connect_by: Instant,
    /// A packet for a link whose inbox is full.
    waiting: Option<WaitingPacket>,
    /// The end of the session, if it was noticed before the last packet was read.
    ended: Option<EngineEnd>,
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
    End,
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
        let limits = hub.0.socketio.clone();
        Self {
            group: Arc::new(LinkGroup::new(session.clone())),
            closing: None,
            expelled: VecDeque::new(),
            connect_by: after(Instant::now(), limits.connect_timeout),
            decoder: PacketDecoder::new(limits.clone()),
            hub: hub.clone(),
            session,
            limits,
            links: HashMap::new(),
            sockets: FuturesUnordered::new(),
            waiting: None,
            ended: None,
        }
    }

    /// Serves the session until it has to end, or has ended.
    async fn run(&mut self) -> EngineEnd {
        let mut turn = 0;
        loop {
            match self.next().await {
                Step::Message(message) => {
                    if let Err(Invalid(kind, code, reason)) = self.receive(message) {
                        return EngineEnd { kind, error: CloseError::new(code, reason).into() };
                    }
                }
                Step::Left(link) => self.remove(&link),
                Step::Pushed => self.waiting = None,
                Step::Ended(end) => {
                    self.links.values().for_each(|link| link.disconnect(&end));
                    self.ended = Some(end);
                }
                Step::Close(code, reason) => {
                    // A half is left for the close frame and its answer.
                    let by = after(Instant::now(), self.session.close_timeout() / 2);
                    self.closing.get_or_insert((code, by));
                    // A hub that drains closes all of its sockets, and counts them.
                    if !self.hub.is_draining() {
                        self.links.values().for_each(|link| link.close_socket(code, &reason));
                    }
                }
                Step::Idle(code, reason) => {
                    let error = CloseError::new(code, reason).into();
                    return EngineEnd { kind: EngineEndKind::Closed, error };
                }
                Step::End => return self.session.closed().await,
            }
            turn += 1;
            if turn == MAX_TURN {
                turn = 0;
                yield_now().await;
            }
        }
    }

    /// Ends the namespaces and the session, and waits for the handlers of `disconnect`.
    async fn finish(&mut self, end: EngineEnd) {
        let end = self.ended.take().unwrap_or(end);
        for link in self.links.values() {
            link.end(NamespaceEnd::Session(end.clone()));
        }
        let session = self.session.clone();
        let code = match &end.error {
            Error::Closed(close) => close.code,
            _ => StatusCode::POLICY_VIOLATION,
        };
        let handle_ends = async { while self.sockets.next().await.is_some() {} };
        let tell_client = async {
            // Without effect on a session that has ended.
            session.close(code).await;
            timeout(session.close_timeout(), session.client_told()).await;
        };
        tokio::join!(tell_client, handle_ends);
    }

    async fn next(&mut self) -> Step {
        let Self { hub, session, group, connect_by, links, sockets, waiting, ended, .. } = self;
        let closing = self.closing;
        let mut closed = pin!(session.closed());
        let mut receiving = pin!(session.receive());
        let mut idle = pin!(async {
            if closing.is_none() && !links.is_empty() {
                pending::<()>().await;
            }
            // Boxed, since a session waits for neither most of the time.
            Box::pin(async {
                let limit = |by: Instant| by.saturating_duration_since(Instant::now());
                if let Some((code, by)) = closing {
                    timeout(limit(by), pending::<()>()).await;
                    return Step::Idle(code, "");
                }
                match timeout(limit(*connect_by), hub.0.drain_started()).await {
                    Some(()) => Step::Idle(StatusCode::GOING_AWAY, ""),
                    None => Step::Idle(StatusCode::POLICY_VIOLATION, "no namespace"),
                }
            })
            .await
        });
        poll_fn(|cx| {
            group.register(cx);
            if let Some((code, reason)) = group.take_close() {
                return Poll::Ready(Step::Close(code, reason));
            }
            // The sockets first, since a message of one may be the last one.
            if let Poll::Ready(Some(link)) = sockets.poll_next_unpin(cx) {
                return Poll::Ready(Step::Left(link));
            }
            if let Some((code, _)) = closing
                && links.values().all(|link| link.is_flushed())
            {
                return Poll::Ready(Step::Idle(code, ""));
            }
            if let Some(WaitingPacket { link, received }) = waiting {
                if link.push(received) {
                    return Poll::Ready(Step::Pushed);
                }
                if ended.is_none()
                    && let Poll::Ready(end) = closed.as_mut().poll(cx)
                {
                    return Poll::Ready(Step::Ended(end));
                }
                return match closing {
                    Some(_) => idle.as_mut().poll(cx),
                    None => Poll::Pending,
                };
            }
            if let Poll::Ready(message) = receiving.as_mut().poll(cx) {
                return Poll::Ready(message.map_or(Step::End, Step::Message));
            }
            idle.as_mut().poll(cx)
        })
        .await
    }

    /// Decodes a message, and carries out the packet that it completes.
    fn receive(&mut self, message: Message) -> Result<(), Invalid> {
        let packet = self.decoder.decode(message).map_err(Invalid::packet)?;
        let Some(packet) = packet else { return Ok(()) };
        // The client may connect again before the handlers of `disconnect` have returned.
        let link = self.links.get(&*packet.namespace).filter(|link| !link.has_ended()).cloned();
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
                let received = Some((received(packet), size));
                self.waiting = Some(WaitingPacket { link, received });
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

    fn connect(&mut self, packet: &Packet) -> Result<(), Invalid> {
        if self.closing.is_some() {
            return Ok(());
        }
        if self.sockets.len() >= self.limits.namespaces {
            let reason = "more namespaces than `SocketIoLimits::namespaces`".to_owned();
            return Err(Invalid(
                EngineEndKind::TransportError,
                StatusCode::POLICY_VIOLATION,
                reason,
            ));
        }
        let name: Arc<str> = Arc::from(&*packet.namespace);
        self.expelled.retain(|expelled| *expelled != name);
        let group = Arc::clone(&self.group);
        let format = self.decoder.format();
        let link = NamespaceLink::new(group, Arc::clone(&name), format, &packet.data);
        let link = Arc::new(link);
        if let Some(end) = &self.ended {
            link.disconnect(end);
        }
        self.links.insert(name, Arc::clone(&link));
        self.sockets.push(Box::pin(serve_namespace(self.hub.clone(), link)));
        Ok(())
    }

    /// A socket has left its namespace. Meanwhile the client may have connected again.
    fn remove(&mut self, link: &Arc<NamespaceLink>) {
        if self.links.get(link.name()).is_some_and(|other| Arc::ptr_eq(other, link)) {
            self.links.remove(link.name());
            if link.was_ended_by_server() {
                if self.expelled.len() >= self.limits.namespaces {
                    self.expelled.pop_front();
                }
                self.expelled.push_back(Arc::clone(link.name()));
            }
            if link.was_accepted() {
                self.connect_by = after(Instant::now(), self.limits.connect_timeout);
            }
        }
        // A packet that waits for it is dropped by `push`.
    }

    /// Whether this side has told the client to leave a namespace, to which it has not connected
    /// again.
    fn has_expelled(&self, namespace: &str) -> bool {
        let is_leaving = self.links.get(namespace).is_some_and(|link| link.was_ended_by_server());
        is_leaving || self.expelled.iter().any(|expelled| **expelled == *namespace)
    }
}

impl Drop for SessionTask {
    fn drop(&mut self) {
        self.session.close_now();
    }
}

/// Counts a session, for a drain of its hub, until it is dropped.
struct SessionCount(Arc<HubShared>);

impl SessionCount {
    fn new(hub: &Hub) -> Self {
        hub.0.sessions.fetch_add(1, SeqCst);
        Self(Arc::clone(&hub.0))
    }
}

impl Drop for SessionCount {
    fn drop(&mut self) {
        if self.0.sessions.fetch_sub(1, SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// Serves the socket of one namespace to its end.
async fn serve_namespace(hub: Hub, link: Arc<NamespaceLink>) -> Arc<NamespaceLink> {
    match hub.lease(link.name()) {
        Some(lease) => {
            let namespace = lease.namespace.clone();
            let format = WireFormat::of_packets(link.format());
            let link = Link::Namespace(Arc::clone(&link));
            let format = match namespace.0.recovery() {
                None => format,
                Some(_) => format.resumable(),
            };
            serve_link(namespace, link, format).await;
        }
        None => link.refuse("Invalid namespace", None).await,
    }
    // Also after a refusal.
    link.end(NamespaceEnd::Server);
    link
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
