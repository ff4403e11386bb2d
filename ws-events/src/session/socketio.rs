//! How is a Socket.IO session served: one socket for each namespace of the client?
//!
//! One task reads the packets of a session, and runs the sockets of its namespaces. A packet for a
//! namespace waits in the inbox of its [`NamespaceLink`]; while an inbox is full, the session is
//! not read.

use std::collections::HashMap;
use std::future::{Future as _, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use ws_core::{CloseError, Message, StatusCode};

use crate::delivery::wire_format::WireFormat;
use crate::engine::{EngineEnd, EngineEndKind, EngineSession};
use crate::events::data_de::from_json;
use crate::events::protocol::{IncomingEvent, PeerData, Received, is_valid_name};
use crate::link::Link;
use crate::namespace_link::{NamespaceEnd, NamespaceLink};
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
        let limits = self.0.socketio.clone();
        let task = SessionTask {
            decoder: PacketDecoder::new(limits.clone()),
            hub: self.clone(),
            session: session.clone(),
            limits,
            links: HashMap::new(),
            sockets: FuturesUnordered::new(),
            waiting: None,
        };
        Box::pin(task.run()).await;
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
    limits: SocketIoLimits,
    decoder: PacketDecoder,
    /// The namespaces in which the client is or to which it connects.
    links: HashMap<Arc<str>, Arc<NamespaceLink>>,
    /// Their sockets, and those that have yet to run the handlers of their end.
    sockets: FuturesUnordered<BoxFuture<'static, Arc<NamespaceLink>>>,
    /// A packet for a link whose inbox is full.
    waiting: Option<WaitingPacket>,
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
    /// The client is in no namespace for too long.
    Late,
    /// The session has ended.
    End,
}

/// Why the session must end: the reason for the log of the connection.
struct Invalid(EngineEndKind, String);

impl SessionTask {
    async fn run(mut self) {
        let mut turn = 0;
        let end = loop {
            match self.next().await {
                Step::Message(message) => {
                    if let Err(Invalid(kind, reason)) = self.receive(message) {
                        let error = CloseError::new(StatusCode::PROTOCOL_ERROR, reason).into();
                        break EngineEnd { kind, error };
                    }
                }
                Step::Left(link) => self.remove(&link),
                Step::Pushed => self.waiting = None,
                Step::Late => {
                    let error = CloseError::new(StatusCode::POLICY_VIOLATION, "no namespace");
                    break EngineEnd { kind: EngineEndKind::Closed, error: error.into() };
                }
                Step::End => break self.session.closed().await,
            }
            turn += 1;
            if turn == MAX_TURN {
                turn = 0;
                yield_now().await;
            }
        };
        for link in self.links.values() {
            link.end(NamespaceEnd::Session(end.clone()));
        }
        let session = self.session.clone();
        let code = if matches!(end.kind, EngineEndKind::ParseError) {
            StatusCode::PROTOCOL_ERROR
        } else {
            StatusCode::POLICY_VIOLATION
        };
        let handle_ends = async { while self.sockets.next().await.is_some() {} };
        // Without effect on a session that has ended.
        tokio::join!(session.close(code), handle_ends);
    }

    async fn next(&mut self) -> Step {
        let Self { session, limits, links, sockets, waiting, .. } = self;
        let mut receiving = pin!(session.receive());
        let mut late = pin!(async {
            // Outside of a tokio runtime there is no clock.
            if links.is_empty() && Handle::try_current().is_ok() {
                tokio::time::sleep(limits.connect_timeout).await;
            } else {
                pending::<()>().await;
            }
        });
        poll_fn(|cx| {
            if let Poll::Ready(Some(link)) = sockets.poll_next_unpin(cx) {
                return Poll::Ready(Step::Left(link));
            }
            if let Some(WaitingPacket { link, received }) = waiting {
                return link.poll_push(received, cx).map(|()| Step::Pushed);
            }
            if let Poll::Ready(message) = receiving.as_mut().poll(cx) {
                return Poll::Ready(message.map_or(Step::End, Step::Message));
            }
            late.as_mut().poll(cx).map(|()| Step::Late)
        })
        .await
    }

    /// Decodes a message, and carries out the packet that it completes.
    fn receive(&mut self, message: Message) -> Result<(), Invalid> {
        let packet = self.decoder.decode(message);
        let packet =
            packet.map_err(|error| Invalid(EngineEndKind::ParseError, error.to_string()))?;
        let Some(packet) = packet else { return Ok(()) };
        // The client may connect again before the handlers of `disconnect` have returned.
        let link = self.links.get(&*packet.namespace).filter(|link| !link.has_ended()).cloned();
        match (packet.kind, link) {
            (PacketType::Connect, None) => self.connect(&packet),
            (PacketType::Disconnect, Some(link)) => {
                link.end(NamespaceEnd::Client);
                self.links.remove(link.name());
                Ok(())
            }
            (PacketType::Event | PacketType::Ack, Some(link)) if link.is_accepted() => {
                let size = packet.attachments.iter().map(bytes::Bytes::len).sum::<usize>();
                let size = size.saturating_add(packet.data.len());
                let received = Some((received(packet), size));
                self.waiting = Some(WaitingPacket { link, received });
                Ok(())
            }
            _ => Err(Invalid(EngineEndKind::ParseError, "a packet out of order".to_owned())),
        }
    }

    fn connect(&mut self, packet: &Packet) -> Result<(), Invalid> {
        if self.sockets.len() >= self.limits.namespaces {
            let reason = "more namespaces than `SocketIoLimits::namespaces`";
            return Err(Invalid(EngineEndKind::TransportError, reason.to_owned()));
        }
        let name: Arc<str> = Arc::from(&*packet.namespace);
        let session = self.session.clone();
        let link = Arc::new(NamespaceLink::new(session, Arc::clone(&name), &packet.data));
        self.links.insert(name, Arc::clone(&link));
        self.sockets.push(Box::pin(serve_namespace(self.hub.clone(), link)));
        Ok(())
    }

    /// A socket has left its namespace. Meanwhile the client may have connected again.
    fn remove(&mut self, link: &Arc<NamespaceLink>) {
        if self.links.get(link.name()).is_some_and(|other| Arc::ptr_eq(other, link)) {
            self.links.remove(link.name());
        }
        // A packet that waits for it is dropped by `poll_push`.
    }
}

impl Drop for SessionTask {
    fn drop(&mut self) {
        self.session.close_now();
    }
}

/// Serves the socket of one namespace to its end.
async fn serve_namespace(hub: Hub, link: Arc<NamespaceLink>) -> Arc<NamespaceLink> {
    match hub.lease(link.name()) {
        Some(lease) => {
            let namespace = lease.namespace.clone();
            let link = Link::Namespace(Arc::clone(&link));
            serve_link(namespace, link, WireFormat::SocketIo).await;
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
