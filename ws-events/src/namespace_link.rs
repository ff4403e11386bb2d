//! How does a socket share a Socket.IO session with the sockets of other namespaces?
//!
//! The task of the session decodes its packets, and puts those of each namespace into the inbox of
//! a [`NamespaceLink`]. The socket of the namespace reads the inbox, and writes to the session.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::task::AtomicWaker;
use once_cell::race::OnceBox;
use parking_lot::Mutex;
use ws_core::adapter::Batch;
use ws_core::{Error, PreparedMessage, StatusCode, TryWriteError};

use crate::engine::{EngineEnd, EngineSession};
use crate::events::protocol::Received;
use crate::socketio::{PacketFormat, PacketType, control_packet};

/// The largest number of packets, and of bytes, that wait for the handlers of a namespace. While
/// one of them is reached, the session is not read.
const INBOX_PACKETS: usize = 64;
const INBOX_BYTES: usize = 64 * 1024;

/// What the links of one session share with its task.
pub(crate) struct LinkGroup {
    session: EngineSession,
    /// Wakes the task of the session.
    task: AtomicWaker,
    inner: Mutex<GroupInner>,
}

#[derive(Default)]
struct GroupInner {
    /// In all inboxes.
    packets: usize,
    bytes: usize,
    /// The command to close the sockets of all namespaces, and then the session.
    close: Option<(StatusCode, String)>,
}

/// Closes the socket of a link, after its queued messages.
type CloseSocket = Box<dyn Fn(StatusCode, &str) + Send + Sync>;

/// The connection of one client to one namespace.
pub(crate) struct NamespaceLink {
    group: Arc<LinkGroup>,
    name: Arc<str>,
    format: PacketFormat,
    /// JSON.
    auth: Box<str>,
    /// Set when the hub has accepted the client.
    close_socket: OnceBox<CloseSocket>,
    inner: Mutex<LinkInner>,
}

struct LinkInner {
    phase: LinkPhase,
    was_accepted: bool,
    /// Its socket has sent its last message, and waits for the end of the session.
    is_flushed: bool,
    received: VecDeque<(Received, usize)>,
    /// Wakes the event loop of the socket.
    reader: Option<Waker>,
    /// Wakes the futures that wait for the end.
    closed: Vec<Waker>,
}

/// The life of a link.
#[derive(Debug)]
enum LinkPhase {
    /// The hub has not accepted the client yet.
    Connecting,
    /// It has. The packet for it comes before all others, with the next batch.
    Accepted(PreparedMessage),
    Connected,
    /// The session has ended. Packets that have arrived before are still read.
    Disconnected(EngineEnd),
    Ended(NamespaceEnd),
}

/// Why a link has ended.
#[derive(Clone, Debug)]
pub(crate) enum NamespaceEnd {
    /// The client has left the namespace.
    Client,
    /// This side has told the client to leave.
    Server,
    /// The session has ended.
    Session(EngineEnd),
}

impl LinkGroup {
    pub(crate) fn new(session: EngineSession) -> Self {
        Self { session, task: AtomicWaker::new(), inner: Mutex::default() }
    }

    /// Registers the task of the session: it is woken when there is room in the inboxes, when a
    /// link ends, and when the session is to be closed.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// Closes the sockets of all namespaces as this code demands, and then the session.
    pub(crate) fn close(&self, code: StatusCode, reason: &str) {
        self.inner.lock().close.get_or_insert_with(|| (code, reason.to_owned()));
        self.task.wake();
    }

    /// The command of [`close`](Self::close), once.
    pub(crate) fn take_close(&self) -> Option<(StatusCode, String)> {
        self.inner.lock().close.take()
    }

    /// Counts a packet that is put into an inbox, if there is room for it.
    fn add(&self, size: usize) -> bool {
        let mut inner = self.inner.lock();
        let has_room = inner.packets < INBOX_PACKETS && inner.bytes < INBOX_BYTES;
        if has_room {
            inner.packets += 1;
            inner.bytes = inner.bytes.saturating_add(size);
        }
        has_room
    }

    /// Packets have left an inbox.
    fn release(&self, packets: usize, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.packets = inner.packets.saturating_sub(packets);
        inner.bytes = inner.bytes.saturating_sub(bytes);
        drop(inner);
        self.task.wake();
    }
}

impl NamespaceLink {
    pub(crate) fn new(
        group: Arc<LinkGroup>,
        name: Arc<str>,
        format: PacketFormat,
        auth: &str,
    ) -> Self {
        Self {
            group,
            name,
            format,
            auth: Box::from(auth),
            close_socket: OnceBox::new(),
            inner: Mutex::new(LinkInner {
                phase: LinkPhase::Connecting,
                was_accepted: false,
                is_flushed: false,
                received: VecDeque::new(),
                reader: None,
                closed: Vec::new(),
            }),
        }
    }

    pub(crate) fn session(&self) -> &EngineSession {
        &self.group.session
    }

    pub(crate) fn group(&self) -> &LinkGroup {
        &self.group
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) const fn format(&self) -> PacketFormat {
        self.format
    }

    pub(crate) const fn auth(&self) -> &str {
        &self.auth
    }

    /// The hub has accepted the client: `answer` is sent before anything else.
    pub(crate) fn accept(
        &self,
        answer: PreparedMessage,
        close_socket: impl Fn(StatusCode, &str) + Send + Sync + 'static,
    ) {
        // It is not set yet.
        let _ = self.close_socket.set(Box::new(Box::new(close_socket)));
        let mut inner = self.inner.lock();
        if let LinkPhase::Connecting = inner.phase {
            inner.phase = LinkPhase::Accepted(answer);
            inner.was_accepted = true;
        }
    }

    pub(crate) fn was_accepted(&self) -> bool {
        self.inner.lock().was_accepted
    }

    /// Whether the client may send events.
    pub(crate) fn is_accepted(&self) -> bool {
        !matches!(self.inner.lock().phase, LinkPhase::Connecting)
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.inner.lock().phase, LinkPhase::Ended(_))
    }

    /// Whether its socket has nothing to send any more.
    pub(crate) fn is_flushed(&self) -> bool {
        let inner = self.inner.lock();
        inner.is_flushed || matches!(inner.phase, LinkPhase::Ended(_))
    }

    /// Whether this side has told the client to leave.
    pub(crate) fn was_ended_by_server(&self) -> bool {
        let inner = self.inner.lock();
        inner.was_accepted && matches!(inner.phase, LinkPhase::Ended(NamespaceEnd::Server))
    }

    /// Closes the socket; a client that is not accepted yet is dropped.
    pub(crate) fn close_socket(&self, code: StatusCode, reason: &str) {
        match self.close_socket.get() {
            Some(close) => close(code, reason),
            None => self.end(NamespaceEnd::Server),
        }
    }

    /// For the session: puts a packet into the inbox, if there is room. Packets for a link that has
    /// ended are dropped. Returns whether the packet is gone.
    pub(crate) fn push(&self, received: &mut Option<(Received, usize)>) -> bool {
        let mut inner = self.inner.lock();
        if let LinkPhase::Ended(_) = inner.phase {
            *received = None;
            return true;
        }
        if received.as_ref().is_some_and(|(_, size)| !self.group.add(*size)) {
            return false;
        }
        inner.received.extend(received.take());
        let reader = inner.reader.take();
        drop(inner);
        reader.into_iter().for_each(Waker::wake);
        true
    }

    /// The session has ended: [`closed`](Self::closed) resolves, and packets that have arrived
    /// before are still pushed and read, until [`end`](Self::end).
    pub(crate) fn disconnect(&self, end: &EngineEnd) {
        self.change_phase(|phase| match phase {
            LinkPhase::Accepted(_) | LinkPhase::Connected => {
                Some(LinkPhase::Disconnected(end.clone()))
            }
            // The client may not send packets yet.
            LinkPhase::Connecting => Some(LinkPhase::Ended(NamespaceEnd::Session(end.clone()))),
            LinkPhase::Disconnected(_) | LinkPhase::Ended(_) => None,
        });
    }

    /// The link ends. Only the first reason counts.
    pub(crate) fn end(&self, end: NamespaceEnd) {
        self.change_phase(|phase| match phase {
            LinkPhase::Ended(_) => None,
            _ => Some(LinkPhase::Ended(end)),
        });
    }

    /// Changes the phase to another one in which the connection has ended, and wakes all.
    fn change_phase(&self, next: impl FnOnce(&LinkPhase) -> Option<LinkPhase>) {
        let mut inner = self.inner.lock();
        let Some(next) = next(&inner.phase) else { return };
        inner.phase = next;
        let wakers = std::mem::take(&mut inner.closed);
        let reader = inner.reader.take();
        drop(inner);
        wakers.into_iter().chain(reader).for_each(Waker::wake);
        self.group.task.wake();
    }

    /// The next packet, with its size; `None` after the last one.
    pub(crate) async fn read(&self) -> Option<(Received, usize)> {
        poll_fn(|cx| {
            let mut inner = self.inner.lock();
            if let Some((received, size)) = inner.received.pop_front() {
                if inner.received.is_empty() {
                    // An idle socket holds no memory for it.
                    inner.received = VecDeque::new();
                }
                drop(inner);
                self.group.release(1, size);
                return Poll::Ready(Some((received, size)));
            }
            if let LinkPhase::Ended(_) = inner.phase {
                return Poll::Ready(None);
            }
            inner.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Waits for the end.
    pub(crate) async fn closed(&self) -> NamespaceEnd {
        poll_fn(|cx| {
            let mut inner = self.inner.lock();
            match &inner.phase {
                LinkPhase::Ended(end) => return Poll::Ready(end.clone()),
                LinkPhase::Disconnected(end) => {
                    return Poll::Ready(NamespaceEnd::Session(end.clone()));
                }
                LinkPhase::Connecting | LinkPhase::Accepted(_) | LinkPhase::Connected => {}
            }
            if !inner.closed.iter().any(|waker| waker.will_wake(cx.waker())) {
                inner.closed.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Tells the client to leave: it does not connect again by itself. With a code that means
    /// "later", closes the session instead, after the last messages of all namespaces: clients then
    /// connect again.
    pub(crate) async fn close(&self, code: StatusCode, reason: &str) -> Result<(), Error> {
        let later =
            [StatusCode::GOING_AWAY, StatusCode::SERVICE_RESTART, StatusCode::TRY_AGAIN_LATER];
        if later.contains(&code) {
            self.inner.lock().is_flushed = true;
            self.group.close(code, reason);
            // The task of the session ends the link.
            self.closed().await;
            return Ok(());
        }
        let kind = PacketType::Disconnect;
        let mut leave = Some(control_packet(self.format, kind, &self.name, None));
        self.write_batch(|_| leave.take()).await?;
        self.end(NamespaceEnd::Server);
        Ok(())
    }

    /// Sends the answer to the client, unless a batch writer has sent it.
    pub(crate) async fn send_answer(&self) -> Result<(), Error> {
        if matches!(self.inner.lock().phase, LinkPhase::Accepted(_)) {
            self.write_batch(|_| None).await?;
        }
        Ok(())
    }

    /// Refuses the client, which stays connected to its other namespaces.
    pub(crate) async fn refuse(&self, message: &str, data: Option<&str>) {
        let message = serde_json::to_string(message).unwrap_or_default();
        let json = match data {
            Some(data) => format!(r#"{{"message":{message},"data":{data}}}"#),
            None => format!(r#"{{"message":{message}}}"#),
        };
        let kind = PacketType::ConnectError;
        let mut refusal = Some(control_packet(self.format, kind, &self.name, Some(&json)));
        // It fails if the session has ended.
        let _ = self.write_batch(|_| refusal.take()).await;
    }

    /// The answer to the client, if it was not sent yet.
    fn take_answer(&self) -> Option<PreparedMessage> {
        let mut inner = self.inner.lock();
        if !matches!(inner.phase, LinkPhase::Accepted(_)) {
            return None;
        }
        match std::mem::replace(&mut inner.phase, LinkPhase::Connected) {
            LinkPhase::Accepted(answer) => Some(answer),
            _ => None,
        }
    }

    /// See [`EngineSession::write_batch`].
    pub(crate) async fn write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I + Send + Unpin,
    ) -> Result<Batch, Error> {
        let batch = |room| self.take_answer().into_iter().chain(take(room));
        self.session().write_batch(batch).await
    }

    /// See [`EngineSession::try_write_batch`].
    pub(crate) fn try_write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I,
    ) -> Result<Batch, TryWriteError> {
        self.session().try_write_batch(|room| self.take_answer().into_iter().chain(take(room)))
    }
}

impl Drop for NamespaceLink {
    fn drop(&mut self) {
        let received = &self.inner.get_mut().received;
        let bytes = received.iter().map(|(_, size)| size).sum();
        self.group.release(received.len(), bytes);
    }
}
